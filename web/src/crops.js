// What does a network see of a face?  As glasses/crops.py. A crop: {width, height, unit, drop}. A map: a turn,
// a scale and a shift [a, b, c, d, e, f]: x' = a x + b y + c, y' = d x + e y + f.
import { halved, makeImage, part, warp } from "./images.js";

/** The map from pixels of the photo to those of the crop. */
export function cropMatrix([eye, otherEye, , mouth, otherMouth], crop) {
  const eyes = [(eye[0] + otherEye[0]) / 2, (eye[1] + otherEye[1]) / 2];
  const across = [otherEye[0] - eye[0], otherEye[1] - eye[1]];
  const down = [(mouth[0] + otherMouth[0]) / 2 - eyes[0], (mouth[1] + otherMouth[1]) / 2 - eyes[1]];
  const level = [across[0] + down[1], across[1] - down[0]]; // both say where the face's right is
  const unit = Math.max(Math.hypot(...across), Math.hypot(...down), 1);
  const length = Math.hypot(...level);
  const right = length ? level.map((v) => v / Math.max(length, 1e-6)) : [1, 0];
  const centre = [eyes[0] - crop.drop * unit * right[1], eyes[1] + crop.drop * unit * right[0]];
  const cos = (crop.unit / unit) * right[0];
  const sin = (-crop.unit / unit) * right[1];
  const shift = [
    (crop.width - 1) / 2 - (cos * centre[0] - sin * centre[1]),
    (crop.height - 1) / 2 - (sin * centre[0] + cos * centre[1]),
  ];
  return [cos, -sin, shift[0], sin, cos, shift[1]];
}

/** Pixels of the crop for one of the photo: above 1 the face is enlarged. */
export function cropScale(landmarks, crop) {
  const [a, b] = cropMatrix(landmarks, crop);
  return Math.hypot(a, b);
}

/** A face cut out of an image, its eye line level; black outside of the photo. */
export function alignFace(image, landmarks, crop) {
  const [a, b, c, d, e, f] = cropMatrix(landmarks, crop);
  const scale = Math.hypot(a, b);
  const middle = [(crop.width - 1) / 2, (crop.height - 1) / 2];
  const [du, dv] = [middle[0] - c, middle[1] - f];
  let centre = [(a * du + d * dv) / scale ** 2, (b * du + e * dv) / scale ** 2]; // of the crop, in the photo

  const reach = Math.max(Math.hypot(crop.width, crop.height) / 2 + 2 * scale, 2.6 * crop.unit) / scale;
  const x0 = Math.max(Math.floor(centre[0] - reach), 0);
  const y0 = Math.max(Math.floor(centre[1] - reach), 0);
  const x1 = Math.min(Math.ceil(centre[0] + reach), image.width);
  const y1 = Math.min(Math.ceil(centre[1] + reach), image.height);
  if (x1 <= x0 || y1 <= y0) return makeImage(crop.width, crop.height); // landmarks far outside the photo
  const [near, share] = halved(part(image, x0, y0, x1, y1), scale); // a large face: else the warp aliases
  centre = [(centre[0] - x0 + 0.5) * share - 0.5, (centre[1] - y0 + 0.5) * share - 0.5];
  const turn = [a, b, d, e].map((v) => v / share);
  const shift = [
    middle[0] - turn[0] * centre[0] - turn[1] * centre[1],
    middle[1] - turn[2] * centre[0] - turn[3] * centre[1],
  ];
  return warp(near, [turn[0], turn[1], shift[0], turn[2], turn[3], shift[1]], crop.width, crop.height);
}

/** [x, y] of the photo -> of the crop. */
export function enter([x, y], [a, b, c, d, e, f]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** [x, y] of the crop -> of the photo. */
export function leave([u, v], [a, b, c, d, e, f]) {
  const det = a * e - b * d;
  return [(e * (u - c) - b * (v - f)) / det, (a * (v - f) - d * (u - c)) / det];
}
