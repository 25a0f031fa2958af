// The finder, looking as closely as the photo needs.  As detector_architectures/auto.py.
import settings from "../settings.json";
import { findAgain, moved, overlap, scaled, sideOf } from "./faces.js";
import { look } from "./finder.js";
import { enlarge, framed, shrink } from "./images.js";

const { FIRST, SECOND, NEAR, SMALLEST, LEAST, UNSURE, SURE, TINY, SMALL, BORDER } = settings.auto;
const { SAME } = settings.faces;

/** The faces of an image, and what could be one: all with a score of at least LEAST. */
export async function candidates(image) {
  const scale = SMALLEST / Math.max(image.width, image.height);
  if (scale > 1) return (await candidates(enlarge(image, scale))).map((face) => scaled(face, 1 / scale));
  const faces = await findFaces(image);
  return faces.length ? faces : findFramed(image);
}

async function findFaces(image) {
  const seen = await lookAt(image, FIRST);
  if (!enough(seen) && Math.max(image.width, image.height) > FIRST) seen.push(...(await lookAt(image, SECOND)));
  const faces = [];
  for (const { face, scale } of likely(seen)) {
    faces.push(scale * sideOf(face) < SMALL ? await fromNear(image, face) : face);
  }
  return faces;
}

/** Each face with the scale of the look that saw it. */
async function lookAt(image, size) {
  const scale = Math.min(1, size / Math.max(image.width, image.height));
  return (await look(image, size, LEAST)).map((face) => ({ face, scale }));
}

/** With the box and landmarks seen from near. */
async function fromNear(image, face) {
  const again = await findAgain(image, face, (window) => look(window, NEAR, LEAST));
  return again ? { ...again, score: face.score } : face;
}

/** What is surely a face in the photo, shrunk, with a border around it. */
async function findFramed(image) {
  const [small, scale] = shrink(image, SMALLEST);
  const faces = await look(framed(small, BORDER), SMALLEST + 2 * BORDER, SURE);
  return faces.map((face) => scaled(moved(face, -BORDER, -BORDER), 1 / scale));
}

/** Whether a look has seen one face, surely and not tiny, and next to nothing else. */
function enough(seen) {
  const likely = seen.filter(({ face }) => face.score >= UNSURE);
  return likely.length === 1 && likely[0].face.score >= SURE && likely[0].scale * sideOf(likely[0].face) >= TINY;
}

/** Of the faces of all looks the surest at each place; beside a sure face only those that are likely themselves. */
function likely(seen) {
  const kept = [];
  for (const one of [...seen].sort((a, b) => b.face.score - a.face.score)) {
    if (kept.every((other) => overlap(one.face.box, other.face.box) < SAME)) kept.push(one);
  }
  const least = kept.length && kept[0].face.score >= SURE ? UNSURE : LEAST;
  return kept.filter(({ face }) => face.score >= least);
}
