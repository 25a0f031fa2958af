// Sends the chosen photos to POST /predict and shows what comes back; lists what openapi.json describes.
const part = (id) => document.getElementById(id);
const server = new URL("..", location.href);

function element(name, text, parent) {
  const made = document.createElement(name);
  made.textContent = text;
  parent.append(made);
  return made;
}

function predictUrl() {
  return new URL(part("heatmap").checked ? "predict?heatmap=1" : "predict", server);
}

function showCommand() {
  part("command").textContent = `curl --form photo=@photo.jpg '${predictUrl()}'`;
}

function showAnswer(status, answer) {
  part("status").textContent = status;
  part("pictures").replaceChildren();
  for (const face of (Array.isArray(answer) ? answer : []).flatMap((photo) => photo.faces)) {
    if (!face.heatmap) continue;
    const picture = element("img", "", part("pictures"));
    picture.src = face.heatmap;
    picture.alt = `Where the network looks: ${face.kind}, ${face.probability}`;
  }
  const shortened = (key, value) => (key === "heatmap" && value ? `${value.slice(0, 40)}...` : value);
  part("answer").textContent = JSON.stringify(answer, shortened, 2);
  part("status").hidden = part("answer").hidden = false;
}

part("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData();
  for (const file of part("photos").files) form.append("photo", file);
  try {
    const response = await fetch(predictUrl(), { method: "POST", body: form });
    showAnswer(`${response.status} ${response.statusText}`, await response.json());
  } catch (error) {
    showAnswer("No answer", { error: String(error) });
  }
});
part("heatmap").addEventListener("change", showCommand);
showCommand();

const { paths } = await (await fetch(new URL("openapi.json", server))).json();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, about] of Object.entries(methods)) {
    element("h3", `${method.toUpperCase()} ${path}`, part("paths"));
    element("p", [about.summary, about.description].filter(Boolean).join(" "), part("paths"));
    const list = element("dl", "", part("paths"));
    for (const parameter of about.parameters ?? []) {
      element("dt", `?${parameter.name}=`, list);
      element("dd", parameter.description, list);
    }
    for (const [status, response] of Object.entries(about.responses)) {
      element("dt", status, list);
      element("dd", response.description, list);
    }
  }
}
