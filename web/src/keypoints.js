// Where are the 68 points of a face?  As glasses/keypoints.py. Points: [[x, y], ...] in pixels of the image.
import settings from "../settings.json";
import { alignFace, cropMatrix, enter, leave } from "./crops.js";
import { packed, round } from "./images.js";
import { run } from "./networks.js";

const { POINTS, TOLERANCE, PARTS } = settings.keypoints;
const { crop } = settings.networks.keypoints;

/** 68 points -> eye centres, nose tip, mouth corners. */
export function fiveLandmarks(points) {
  return [middle(points.slice(36, 42)), middle(points.slice(42, 48)), points[30], points[48], points[54]];
}

function middle(points) {
  return [0, 1].map((i) => points.reduce((sum, point) => sum + point[i], 0) / points.length);
}

/** The points of the faces with these landmarks, where they are seen. Where they show that a face was cut out badly, it
 * is looked at once more. */
export async function findPoints(image, landmarks) {
  if (!landmarks.length) return [];
  landmarks = landmarks.map((five) => five.map((point) => point.map((v) => round(PARTS * v) / PARTS)));
  const points = await lookAt(image, landmarks);
  const better = points.map(fiveLandmarks);
  const again = landmarks.flatMap((five, i) => (misplaced(five, better[i]) > TOLERANCE ? [i] : []));
  if (again.length) {
    const anew = await lookAt(
      image,
      again.map((i) => better[i]),
    );
    again.forEach((i, k) => (points[i] = anew[k]));
  }
  return points;
}

async function lookAt(image, landmarks) {
  const crops = landmarks.map((five) => alignFace(image, five, crop));
  const { points } = await run("keypoints", "faces", packed(crops), [crops.length, crop.height, crop.width, 3]);
  return landmarks.map((five, face) => {
    const matrix = cropMatrix(five, crop);
    const first = POINTS * face;
    return Array.from({ length: POINTS }, (_, i) =>
      leave(points.data.subarray(2 * (first + i), 2 * (first + i) + 2), matrix),
    );
  });
}

/** How far the corners of the crop move at most, as a share of its width, if it is cut by better landmarks. */
function misplaced(landmarks, better) {
  const there = cropMatrix(landmarks, crop);
  const here = cropMatrix(better, crop);
  const corners = [
    [0, 0],
    [crop.width, 0],
    [0, crop.height],
    [crop.width, crop.height],
  ];
  const far = corners.map(([x, y]) => {
    const [u, v] = enter(leave([x, y], there), here);
    return Math.hypot(u - x, v - y);
  });
  return Math.max(...far) / crop.width;
}
