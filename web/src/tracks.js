// Which face is which from frame to frame?  Points are smoothed and answers averaged, so that neither flickers.
//
// Simpler than glasses/tracks.py: here the finder looks at each frame, and a face is the one whose box it shares with the
// last frame. So a face that is missed for one frame begins anew, what is a face in one frame alone is shown, and a cut
// ends no track but by its boxes. The average is of probabilities, not of logits weighed by P(face), and an answer
// changes at the threshold, without a margin. Nothing is numbered, and no spans are told.
import settings from "../settings.json";
import { overlap } from "./faces.js";

const { SAME } = settings.faces;
const { KINDS } = settings.crops;
const { threshold } = settings.networks.glasses;
const MEMORY = 0.4; // seconds over which an answer is averaged
const STILL = 1.5; // Hz: below it the points of a face that does not move are cut off
const MOVING = 12; // Hz more a face's width a second: points of a moving face follow at once

/** A function of the answer for a frame and its time in seconds, that returns the smoothed answer. */
export function makeTracks() {
  let before = [];
  let then = 0;
  return (answer, now) => {
    const passed = Math.max(now - then, 1e-3);
    const left = [...before];
    const faces = answer.faces.map((face) => {
      const index = left.findIndex((other) => overlap(face.box, other.box) >= SAME);
      return index < 0 ? face : follow(left.splice(index, 1)[0], face, passed);
    });
    [before, then] = [faces, now];
    if (!faces.length) return answer;
    const [{ probability, kind }] = faces;
    return { glasses: probability >= threshold, probability, kind, faces };
  };
}

/** The 1-Euro filter of Casiez, Roussel and Vogel, 2012, on the points; a mean that forgets on the probability. */
function follow(old, face, passed) {
  const moved = face.points.map(([x, y], i) => Math.hypot(x - old.points[i][0], y - old.points[i][1]));
  const speed = moved.reduce((sum, far) => sum + far, 0) / moved.length / Math.max(face.box[2], 1) / passed;
  const share = 1 / (1 + 1 / (2 * Math.PI * (STILL + MOVING * speed) * passed));
  const points = face.points.map((point, i) => point.map((v, k) => old.points[i][k] + share * (v - old.points[i][k])));
  const probability = old.probability + (1 - Math.exp(-passed / MEMORY)) * (face.probability - old.probability);
  const worn = face.kind === KINDS[0] ? (old.kind === KINDS[0] ? KINDS[1] : old.kind) : face.kind;
  return { ...face, points, probability, kind: probability < threshold ? KINDS[0] : worn };
}
