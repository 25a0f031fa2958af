// How does a photo become an answer?  As glasses/pipeline.py: image -> faces -> landmarks -> crops -> answer.
import settings from "../settings.json";
import { candidates } from "./auto.js";
import { alignFace, cropMatrix, cropScale } from "./crops.js";
import { findAgain, largest, mainFace, scaled } from "./faces.js";
import { packed, round } from "./images.js";
import { findPoints, fiveLandmarks } from "./keypoints.js";
import { run } from "./networks.js";
import { finer } from "./photos.js";

const { KINDS } = settings.crops;
const { SCORE, SECOND_LOOK, CONSTANT } = settings.pipeline;
const { crop, threshold } = settings.networks.glasses;

/** The answer for a photo as photos.js reads it: {glasses, probability, kind, faces}, all but `faces` null where it
 * shows nobody. A face: {box, probability, kind, points, heat}, the main face first; box and 68 points in pixels of the
 * upright photo; heat: {width, height, values, matrix}, the latter from those pixels to the crop's. */
export async function answer(photo) {
  const found = await candidates(photo.image);
  const nearer = await fromNear(photo, mainFirst(found, photo.image));
  const { image, scale } = nearer.photo;
  const points = await findPoints(
    image,
    nearer.faces.map((face) => face.landmarks),
  );
  const landmarks = points.map((of) => fiveLandmarks(of).map((point) => point.map(Math.fround)));
  const rows = await classify(landmarks.map((five) => alignFace(image, five, crop)));
  const outer = (inner) => inner.map((point) => point.map((v) => (v + 0.5) * scale - 0.5));
  const faces = nearer.faces.flatMap((face, i) => {
    const [none, eyeglasses, sunglasses, real] = rows[i].probabilities;
    if (!isFace(face, real)) return [];
    const probability = 1 - none;
    const kind = probability < threshold ? KINDS[0] : KINDS[sunglasses > eyeglasses ? 2 : 1];
    const heat = { ...rows[i].heat, matrix: cropMatrix(outer(landmarks[i]), crop) };
    return [{ box: scaled(face, scale).box.map(round), probability, kind, points: outer(points[i]), heat }];
  });
  if (!faces.length) return { glasses: null, probability: null, kind: null, faces };
  const [{ probability, kind }] = faces;
  return { glasses: probability >= threshold, probability, kind, faces };
}

/** The main face, and then the others, the large ones first. */
function mainFirst(faces, size) {
  const first = mainFace(faces, size);
  const area = (face) => face.box[2] * face.box[3];
  const others = faces.filter((face) => face !== first).sort((a, b) => area(b) - area(a));
  return first ? [first, ...others] : [];
}

/** The photo at a finer scale, and its faces found anew there, where the crop of a face that the answer may be of
 * would have to be enlarged otherwise. */
async function fromNear(photo, faces) {
  const asked = faces.length ? [faces[0], largest(faces, (face) => face.score)] : [];
  const closer = finer(photo, Math.max(1, ...asked.map((face) => cropScale(face.landmarks, crop))));
  const ratio = photo.scale / closer.scale;
  if (ratio <= 1) return { photo, faces };
  const again = [];
  for (const face of faces) {
    const large = scaled(face, ratio);
    const found = await findAgain(closer.image, large, candidates);
    again.push(found ? { ...found, score: large.score } : large);
  }
  return { photo: closer, faces: again };
}

/** Whether what the finder found is a face, by its score and by the P(face) of the network that saw the crop. */
function isFace(face, probability) {
  return SCORE * logit(face.score) + SECOND_LOOK * logit(probability) + CONSTANT >= 0;
}

function logit(probability) {
  const inside = Math.min(Math.max(probability, 1e-4), 1 - 1e-4);
  return Math.log(inside / (1 - inside));
}

/** What the network says of crops: of each the probabilities of the kinds and of a face, and where it looked. */
async function classify(crops) {
  if (!crops.length) return [];
  const output = await run("glasses", "faces", packed(crops), [crops.length, crop.height, crop.width, 3]);
  const { data: rows } = output.probabilities;
  return crops.map((_, i) => ({
    probabilities: Array.from(rows.subarray(4 * i, 4 * i + 4)),
    heat: heatOf(output.heatmap, i),
  }));
}

function heatOf({ dims: [, height, width], data }, i) {
  return { width, height, values: Array.from(data.subarray(i * width * height, (i + 1) * width * height)) };
}
