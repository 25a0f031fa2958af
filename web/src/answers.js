// How does a photo's answer stand on the page?  A card each: picture, words, faces.
import { COLOURS, draw, words } from "./drawing.js";
import { answer } from "./pipeline.js";
import { PhotoError, readPhoto } from "./photos.js";

const LONG_SIDE = 960; // pixels of the picture of a card

/** An element with a class and words. */
function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** "glasses", "no glasses" or "nobody", for people. */
export function verdict({ glasses, kind }) {
  if (glasses === null) return "Nobody";
  return glasses ? `Glasses: ${kind}` : "No glasses";
}

/** The card of a file: its element and what is filled in later. */
export function makeCard(file) {
  const card = { file, name: file.name || "pasted picture", element: element("article") };
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", card.name);
  [canvas.width, canvas.height] = [LONG_SIDE, (3 * LONG_SIDE) / 4];
  const lines = element("div", "words");
  const said = element("p", "verdict", "Waiting");
  const chance = element("div", "chance");
  chance.append(element("span"));
  const more = element("p", "more");
  lines.append(element("p", "name", card.name), said, chance, more);
  card.element.append(canvas, lines);
  card.element.dataset.testid = "answer";
  card.element.dataset.name = card.name;
  lines.firstChild.title = card.name;
  return { ...card, canvas, lines, said, chance, more, answer: null };
}

/** Read the photo, answer, and fill in the card; returns a sentence for those who cannot see it. */
export async function lookAt(card, choice) {
  card.said.textContent = "Looking";
  try {
    const start = performance.now();
    const photo = await readPhoto(card.file);
    card.answer = await answer(photo);
    card.milliseconds = performance.now() - start;
    card.size = { width: photo.width, height: photo.height };
    const small = Math.min(1, LONG_SIDE / Math.max(photo.width, photo.height));
    card.canvas.width = Math.max(1, Math.round(photo.width * small));
    card.canvas.height = Math.max(1, Math.round(photo.height * small));
    drawOn(card, photo.canvas, choice);
    tell(card, photo);
  } catch (error) {
    const known = error instanceof PhotoError || error instanceof RangeError;
    if (!known) console.error(error);
    refuse(card, known ? error.message : `cannot be searched for faces: ${error.message}`);
  }
  return `${card.name}: ${card.said.textContent}. ${card.more.textContent}`;
}

/** Say on the card why there is no answer. */
export function refuse(card, reason) {
  card.said.textContent = "Not read";
  card.more.textContent = reason;
  card.more.classList.add("trouble");
  Object.assign(card.element.dataset, { glasses: "null", probability: "null", error: reason });
  card.canvas.setAttribute("aria-label", `${card.name}: not read`);
}

function drawOn(card, picture, choice) {
  draw(card.canvas, picture, card.size, card.answer.faces, choice);
  card.element.dataset.drawn = `${choice.frame ?? "none"}${choice.heat ? ", heat" : ""}`;
}

function tell(card, photo) {
  const { glasses, probability, kind, faces } = card.answer;
  card.said.textContent = verdict(card.answer);
  card.canvas.setAttribute("aria-label", `${card.name}: ${verdict(card.answer)}`);
  const notes = [];
  if (glasses !== null) {
    card.element.style.setProperty("--kind", COLOURS[kind]);
    card.chance.firstChild.style.width = `${100 * probability}%`;
    notes.push(`Probability of glasses ${(100 * probability).toFixed(1)} %`);
  } else {
    notes.push("No face was found");
  }
  notes.push(`${card.milliseconds.toFixed(0)} ms`);
  if (photo.shrunk) notes.push(`shrunk from ${photo.width} × ${photo.height} to be looked at`);
  card.more.textContent = notes.join(" · ");
  if (faces.length) card.lines.append(listOf(faces), saveButton(card));
  const { milliseconds } = card;
  Object.assign(card.element.dataset, {
    glasses: `${glasses}`,
    probability: `${probability}`,
    kind: `${kind}`,
    milliseconds,
  });
}

function listOf(faces) {
  const details = element("details");
  const list = element("ol");
  for (const face of faces) {
    const [x, y, w, h] = face.box;
    const item = element("li", "", `${words(face)}, ${w} × ${h} pixels at ${x}, ${y}`);
    item.dataset.box = face.box.join(" ");
    list.append(item);
  }
  details.append(element("summary", "", faces.length === 1 ? "1 face" : `${faces.length} faces`), list);
  return details;
}

function saveButton(card) {
  const button = element("button", "save", "Save picture");
  button.type = "button";
  button.addEventListener("click", () => {
    card.canvas.toBlob((blob) => {
      const link = element("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${card.name.replace(/\.\w+$/, "")}-glasses.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  });
  return button;
}

/** Draw the picture anew, since something else is chosen. Decoded again: a page of photos would fill the memory. */
export async function redraw(card, choice) {
  if (!card.answer) return;
  let bitmap;
  try {
    bitmap = await createImageBitmap(card.file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    card.more.textContent = "the file was moved or changed meanwhile: choose it again to draw on it";
    card.more.classList.add("trouble");
    return;
  }
  const pen = card.canvas.getContext("2d");
  pen.resetTransform();
  pen.fillStyle = "white";
  pen.fillRect(0, 0, card.canvas.width, card.canvas.height);
  drawOn(card, bitmap, choice);
  bitmap.close();
}
