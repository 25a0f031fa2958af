// Where in the photo is the face?  As detector_architectures/__init__.py. A face: {box: [x, y, w, h], score,
// landmarks: [[x, y], ...]}, in pixels of the searched image; the landmarks two eyes, nose tip, two mouth corners.
import settings from "../settings.json";
import { part } from "./images.js";

const { SAME, SURROUNDINGS } = settings.faces;

/** The side of the square as large as the box. */
export function sideOf(face) {
  return Math.sqrt(face.box[2] * face.box[3]);
}

/** The same in a picture enlarged by `factor`. The centre of a picture's first pixel is (0, 0). */
export function scaled(face, factor) {
  const shift = (factor - 1) / 2;
  const [x, y, w, h] = face.box.map((v) => v * factor);
  const landmarks = face.landmarks.map((point) => point.map((v) => factor * v + shift));
  return { ...face, box: [x + shift, y + shift, w, h], landmarks };
}

/** The same in a picture of which the searched one is a part that begins at x, y. */
export function moved(face, x, y) {
  const [left, top, w, h] = face.box;
  return { ...face, box: [left + x, top + y, w, h], landmarks: face.landmarks.map(([u, v]) => [u + x, v + y]) };
}

/** IoU of two boxes. */
export function overlap([x, y, w, h], [a, b, c, d]) {
  const wide = Math.max(0, Math.min(x + w, a + c) - Math.max(x, a));
  const high = Math.max(0, Math.min(y + h, b + d) - Math.max(y, b));
  return (wide * high) / (w * h + c * d - wide * high);
}

/** The same face as `look` finds it in the part of the image around it; null where it finds none there. */
export async function findAgain(image, face, look) {
  const [x, y, w, h] = face.box;
  const reach = (SURROUNDINGS * Math.max(w, h)) / 2;
  const x0 = Math.trunc(Math.max(x + w / 2 - reach, 0));
  const y0 = Math.trunc(Math.max(y + h / 2 - reach, 0));
  const x1 = Math.trunc(Math.min(x + w / 2 + reach, image.width - 1)) + 1;
  const y1 = Math.trunc(Math.min(y + h / 2 + reach, image.height - 1)) + 1;
  if (x1 <= x0 || y1 <= y0) return null; // a box beyond the border
  const found = (await look(part(image, x0, y0, x1, y1))).map((again) => moved(again, x0, y0));
  const best = largest(found, (again) => overlap(again.box, face.box));
  return best && overlap(best.box, face.box) >= SAME ? best : null;
}

/** The face a photo of this size is of: large, central and surely a face; null for none. */
export function mainFace(faces, { width, height }) {
  return largest(faces, (face) => {
    const [x, y, w, h] = face.box;
    const offCentre = Math.hypot((x + w / 2) / width - 0.5, (y + h / 2) / height - 0.5);
    return w * h * face.score * (1 - offCentre);
  });
}

/** The first of the items with the largest value, null of none. */
export function largest(items, value) {
  let best = null;
  let most = -Infinity;
  for (const item of items) {
    const here = value(item);
    if (here > most) [best, most] = [item, here];
  }
  return best;
}
