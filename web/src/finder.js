// This project's own face finder.  As detector_architectures/finder.py.
import settings from "../settings.json";
import { overlap, scaled } from "./faces.js";
import { packed, padded, shrink } from "./images.js";
import { run } from "./networks.js";

const { SAME } = settings.faces;
const { CELL, MIDDLE_GREY, AGREEING } = settings.finder;

/** The faces of an image, shrunk to `size` pixels, with at least this score: each the mean of all cells that agree. */
export async function look(image, size, minScore) {
  const [small, scale] = shrink(image, size);
  const likely = (await cells(small, minScore)).sort((a, b) => b.score - a.score);
  const kept = [];
  for (const cell of likely) {
    if (cell.score > minScore && kept.every((other) => overlap(cell.box, other.box) <= SAME)) kept.push(cell);
  }
  const faces = kept.map((cell) =>
    mean(
      cell,
      likely.filter((other) => overlap(cell.box, other.box) >= AGREEING),
    ),
  );
  return scale < 1 ? faces.map((face) => scaled(face, 1 / scale)) : faces;
}

/** What the cells of the image with at least this score answer, before one face is one answer. */
async function cells(image, minScore) {
  const width = CELL * Math.ceil(image.width / CELL);
  const height = CELL * Math.ceil(image.height / CELL);
  const picture = padded(image, width, height, MIDDLE_GREY);
  const { score, box, landmarks } = await run("finder", "pictures", packed([picture]), [1, height, width, 3]);
  const likely = [];
  score.data.forEach((value, i) => {
    if (value < minScore) return;
    const points = Array.from({ length: 5 }, (_, k) =>
      Array.from(landmarks.data.subarray(10 * i + 2 * k, 10 * i + 2 * k + 2)),
    );
    likely.push({ score: value, box: Array.from(box.data.subarray(4 * i, 4 * i + 4)), landmarks: points });
  });
  return likely;
}

function mean(surest, agreeing) {
  const sum = agreeing.reduce((total, { score }) => total + score, 0);
  const average = (value) => agreeing.reduce((total, cell) => total + (cell.score / sum) * value(cell), 0);
  return {
    score: surest.score,
    box: surest.box.map((_, i) => average((cell) => cell.box[i])),
    landmarks: surest.landmarks.map((point, k) => point.map((_, i) => average((cell) => cell.landmarks[k][i]))),
  };
}
