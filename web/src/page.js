// What happens on the page?  Networks are loaded; pictures come by click, drop, paste and camera, and are answered.
import { lookAt, makeCard, redraw, refuse } from "./answers.js";
import { COLOURS } from "./drawing.js";
import { showCamera, showFilm } from "./live.js";
import { openNetworks } from "./networks.js";
import { framePictures } from "./tryon.js";

const get = (id) => document.getElementById(id);
const READY = "Ready. Nothing more is loaded, and nothing is sent.";
const choice = { frame: null, heat: false }; // what is drawn
const cards = [];
let redrawing = 0;

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

function trouble(message) {
  get("state").textContent = get("said").textContent = message;
  get("state").classList.add("trouble");
}

const ready = openNetworks((come, all) => {
  if (get("state").classList.contains("trouble")) return; // the other files may still be coming
  get("loaded").value = come / all;
  get("state").textContent = `Loading the networks: ${megabytes(come)} of ${megabytes(all)} MB`;
}).then(
  () => {
    get("state").textContent = READY;
    get("heat").disabled = false;
    document.body.dataset.ready = "true";
    return true;
  },
  (error) => {
    trouble(`The networks cannot be run: ${error.message}.`);
    return false;
  },
);

// ------------------------------------------------------------------------------------------------ photos

let queue = ready;

/** Cards for the files at once, their answers in turn. */
function take(files) {
  for (const file of files) {
    const card = makeCard(file);
    cards.push(card);
    get("answers").append(card.element);
    queue = queue.then(async (working) => {
      if (working) get("said").textContent = await lookAt(card, choice);
      else refuse(card, "the networks cannot be run");
      await new Promise((resolve) => setTimeout(resolve)); // the page stays alive between photos
      return working;
    });
  }
}

for (const id of ["photo", "snapshot"]) {
  get(id).addEventListener("change", ({ target }) => {
    take(target.files);
    target.value = ""; // the same file can be chosen again
  });
}

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) event.preventDefault();
  takeAny(files);
});

/** Photos are answered, the first film is shown. */
function takeAny(files) {
  const films = files.filter((file) => file.type.startsWith("video/"));
  take(files.filter((file) => !file.type.startsWith("video/")));
  if (!films.length) return;
  const [film] = films;
  const one = `One film is shown at a time: of these ${films.length} it is ${film.name}.`;
  show(() => showFilm(film, choice), films.length > 1 ? one : READY);
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  get("dropping").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) get("dropping").hidden = true;
});
document.addEventListener("drop", (event) => {
  get("dropping").hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  takeAny([...event.dataTransfer.files]);
});

// ---------------------------------------------------------------------------------------- moving pictures

async function show(start, told = READY) {
  if (!(await ready)) return;
  try {
    get("state").classList.remove("trouble");
    get("state").textContent = told;
    if (told !== READY) get("said").textContent = told;
    await start();
  } catch (error) {
    trouble(error.message);
  }
}

get("camera").addEventListener("click", () => show(() => showCamera(choice)));
get("film").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) show(() => showFilm(file, choice));
  target.value = "";
});

// ------------------------------------------------------------------------------------------- what is drawn

async function redrawAll() {
  const turn = ++redrawing;
  for (const card of cards) {
    if (turn !== redrawing) return; // something else was chosen meanwhile
    await redraw(card, choice);
  }
}

get("for").style.setProperty("--kind", COLOURS.eyeglasses);
get("against").style.setProperty("--kind", COLOURS.none);
get("heat").addEventListener("click", ({ target }) => {
  choice.heat = !choice.heat;
  target.setAttribute("aria-pressed", String(choice.heat));
  get("key").hidden = !choice.heat;
  redrawAll();
});

get("frames").append(
  framePictures((name) => {
    choice.frame = name;
    redrawAll();
  }),
);
