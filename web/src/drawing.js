// How is an answer drawn?  Boxes and words, heat map and glasses, into a canvas that already shows the photo.
import settings from "../settings.json";
import { wear } from "./tryon.js";

export const { COLOURS } = settings.drawing;
const { KINDS } = settings.crops;
const { crop } = settings.networks.glasses;
const MOST_HEAT = 200; // of 255: how far the strongest part is covered

/** "eyeglasses (0.98)" of a face, as the tool says it. */
export function words(face) {
  return `${face.kind === "none" ? "no glasses" : face.kind} (${face.probability.toFixed(2)})`;
}

/** Show a picture on a canvas with what is chosen: {frame: a name or null, heat: whether}.
 * size: {width, height} of the photo, in whose pixels the faces are. mirrored: as in a looking-glass. */
export function draw(canvas, picture, size, faces, { frame, heat }, mirrored = false) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const scale = canvas.width / size.width;
  pen.resetTransform();
  if (mirrored) pen.setTransform(-1, 0, 0, 1, canvas.width, 0);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  pen.save();
  pen.scale(scale, scale);
  pen.translate(0.5, 0.5); // the middle of a pixel is at whole numbers
  if (frame) for (const face of faces) wear(pen, face.points, frame, scale);
  if (heat) for (const face of faces) drawHeat(pen, face.heat);
  pen.restore();
  pen.resetTransform();
  if (heat && faces.length) enlargeFace(pen, faces[0], scale, mirrored);
  if (frame) return; // with glasses drawn on, boxes and words would be in their way
  const shown = Math.min(canvas.clientWidth / canvas.width, canvas.clientHeight / canvas.height) || 1; // "contain"
  const letters = 13 / shown;
  const taken = [];
  faces.forEach((face, i) => drawBox(pen, face, scale, mirrored, i === 0, letters, taken));
}

function drawBox(pen, face, scale, mirrored, isMain, letters, taken) {
  const [x, y, w, h] = face.box.map((v) => v * scale);
  const left = mirrored ? pen.canvas.width - x - w : x;
  const colour = COLOURS[face.kind];
  pen.lineWidth = (isMain ? 0.2 : 0.1) * letters;
  pen.strokeStyle = colour;
  pen.strokeRect(left, y, w, h);
  pen.font = `600 ${letters}px system-ui, sans-serif`;
  const text = words(face);
  const wide = pen.measureText(text).width + 0.8 * letters;
  const high = 1.5 * letters;
  const at = (v, room) => Math.min(Math.max(v, 0), Math.max(0, room));
  const places = [y - high, y + h, y - 2 * high, y + h + high].map((top) => [
    at(left, pen.canvas.width - wide),
    at(top, pen.canvas.height - high),
  ]);
  const free = ([u, v]) => taken.every(([a, b, c, d]) => u >= a + c || a >= u + wide || v >= b + d || b >= v + high);
  const [u, v] = places.find(free) ?? places[0];
  taken.push([u, v, wide, high]);
  pen.fillStyle = colour;
  pen.fillRect(u, v, wide, high);
  pen.fillStyle = "black";
  pen.textBaseline = "middle";
  pen.fillText(text, u + 0.4 * letters, v + high / 2);
}

/** A small main face once more, large, in the corner below. */
function enlargeFace(pen, { box: [x, y, w, h] }, scale, mirrored) {
  const { canvas } = pen;
  const side = 1.3 * scale * Math.max(w, h);
  const size = 0.4 * Math.min(canvas.width, canvas.height);
  if (side > size) return;
  const middle = (x + w / 2) * scale;
  const left = (mirrored ? canvas.width - middle : middle) - side / 2;
  pen.drawImage(canvas, left, (y + h / 2) * scale - side / 2, side, side, 0, canvas.height - size, size, size);
  pen.lineWidth = size / 60;
  pen.strokeStyle = "white";
  pen.strokeRect(0, canvas.height - size, size, size);
}

/** What each part of what the network saw said: in the colour of glasses what spoke for them, in that of none what
 * spoke against, the stronger, the more colour. As `heat_map` of the tool, but in the photo. */
function drawHeat(pen, { width, height, values, matrix }) {
  const most = Math.max(...values.map(Math.abs), 1e-6);
  const small = new OffscreenCanvas(width, height);
  const cells = small.getContext("2d");
  const pixels = cells.createImageData(width, height);
  values.forEach((value, i) => {
    const colour = COLOURS[KINDS[value > 0 ? 1 : 0]];
    const bytes = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
    pixels.data.set([...bytes, (MOST_HEAT * Math.abs(value)) / most], 4 * i);
  });
  cells.putImageData(pixels, 0, 0);
  const [a, b, c, d, e, f] = matrix;
  const det = a * e - b * d;
  pen.save();
  pen.transform(e / det, -d / det, -b / det, a / det, (b * f - e * c) / det, (d * c - a * f) / det);
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, -0.5, -0.5, crop.width, crop.height);
  pen.restore();
}
