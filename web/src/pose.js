// How is a head turned?  As glasses/pose.py: key points in, its place and direction in three dimensions out.
import settings from "../settings.json";
import { defaultEars } from "./frames.js";
import { clip, dot, mean, product, rotation, solve, transposed, turned } from "./vectors.js";

const { DISTANCE, INDICES, TRUST, MODEL } = settings.pose;
const EYES = INDICES.flatMap((index, i) => (index === 27 || (index >= 36 && index < 48) ? [i] : []));

/** Where a head is: rotation from its space to the camera's, origin in pixels, scale in pixels a mm. */
export class Pose {
  constructor(turn, origin, scale, fit = 1, ears = defaultEars(1)) {
    Object.assign(this, { turn, origin, scale, fit, ears });
  }

  /** mm of the head -> the camera's directions; z is the nearness. */
  camera(point) {
    return turned(this.turn, point);
  }

  /** mm of the head -> pixels. */
  project(point) {
    const [x, y, z] = this.camera(point);
    const size = (this.scale * DISTANCE) / (DISTANCE - z);
    return [this.origin[0] + x * size, this.origin[1] + y * size];
  }

  /** Where the camera is in the space of the head. */
  get eye() {
    return transposed(this.turn).map((row) => DISTANCE * row[2]);
  }

  /** Radians by which the nose points to the right of the picture, as the head stands. */
  get yaw() {
    const [x, , z] = this.eye;
    return Math.atan2(-x, z);
  }

  /** Which side is turned away, -1 or 1; 0 where none is. */
  get far() {
    return Math.abs(this.yaw) < 0.12 ? 0 : Math.sign(this.yaw);
  }
}

/** The pose of the head with these 68 points: a robust least squares fit to the mean face, from three starts. */
export function findPose(points) {
  const seen = INDICES.map((index) => points[index]);
  const fits = [-0.7, 0, 0.7].map((yaw) => fit(seen, yaw));
  const { pose } = fits.reduce((best, other) => (other.cost < best.cost ? other : best));
  const missed = EYES.map((i) => [0, 1].map((k) => seen[i][k] - pose.project(MODEL[i])[k]));
  pose.origin = [0, 1].map((k) => pose.origin[k] + mean(missed.map((by) => by[k]))); // glasses are worn before the eyes
  measure(pose, points);
  return pose;
}

const weighted = (values) => values.reduce((sum, v, i) => sum + TRUST[i] * v, 0) / TRUST.reduce((a, b) => a + b, 0);

/** Levenberg's method from one start. */
function fit(seen, yaw) {
  const start = rotation([0, yaw, 0]);
  const ahead = MODEL.map((point) => turned(start, point));
  const from = [0, 1].map((k) => weighted(ahead.map((point) => point[k])));
  const to = [0, 1].map((k) => weighted(seen.map((point) => point[k])));
  let [along, across, norm] = [0, 0, 0];
  seen.forEach((point, i) => {
    const [a, b] = [ahead[i][0] - from[0], ahead[i][1] - from[1]];
    const [u, v] = [point[0] - to[0], point[1] - to[1]];
    along += TRUST[i] * (u * a + v * b);
    across += TRUST[i] * (v * a - u * b);
    norm += TRUST[i] * (a * a + b * b);
  });
  const size = Math.hypot(along, across) / norm;
  const roll = rotation([0, 0, Math.atan2(across, along)]);
  const middle = turned(roll, [...from, 0]);
  let turn = product(roll, start);
  let values = [0, 0, 0, to[0] / size - middle[0], to[1] / size - middle[1], Math.log(size)];

  // The first three values are a turn beyond `turn`, which takes them up after each step.
  const poseOf = (v) => new Pose(product(rotation(v.slice(0, 3)), turn), [v[3] * size, v[4] * size], Math.exp(v[5]));
  const residuals = (v) => {
    const pose = poseOf(v);
    return MODEL.flatMap((point, i) => pose.project(point).map((at, k) => (at - seen[i][k]) / size)); // mm
  };
  const distances = (error) => TRUST.map((_, i) => Math.hypot(error[2 * i], error[2 * i + 1]));

  let error = residuals(values);
  for (let round = 0, damping = 1e-2; round < 40; round++) {
    const robust = distances(error).flatMap((far, i) => [0, 1].map(() => TRUST[i] / Math.max(1, far / 5)));
    const slopes = values.map((_, k) => {
      const beside = residuals(values.map((v, j) => (j === k ? v + 1e-4 : v)));
      return beside.map((v, i) => (v - error[i]) / 1e-4);
    });
    const inner = (a, b) => a.reduce((sum, v, i) => sum + robust[i] * v * b[i], 0);
    const normal = slopes.map((a, i) =>
      slopes.map((b, j) => inner(a, b) * (i === j ? 1 + damping : 1) + (i === j ? 1e-9 : 0)),
    );
    const step = solve(
      normal,
      slopes.map((slope) => -inner(slope, error)),
    );
    const there = values.map((v, i) => v + step[i]);
    const anew = residuals(there);
    if (inner(anew, anew) < inner(error, error)) {
      turn = product(rotation(there.slice(0, 3)), turn);
      values = [0, 0, 0, ...there.slice(3)];
      error = anew;
      damping = Math.max(damping / 4, 1e-6);
      if (Math.max(...step.map(Math.abs)) < 1e-5) break;
    } else {
      damping *= 6;
    }
  }
  const cost = distances(error).reduce((sum, far, i) => sum + TRUST[i] * Math.min(far * far, 10 * far), 0);
  return { cost, pose: poseOf(values) };
}

/** Fill in how wide the face is and where its ears are. */
function measure(pose, points) {
  const [left, right] = [0, 16].map((index) => pose.project(MODEL[INDICES.indexOf(index)]));
  const facing = clip((Math.cos(pose.yaw) - 0.8) / 0.2, 0, 1);
  const far = ([x, y], [u, v]) => Math.hypot(x - u, y - v);
  pose.fit = clip(1 + (0.985 * (far(points[16], points[0]) / far(right, left)) - 1) * facing, 0.9, 1.1);
  pose.ears = defaultEars(pose.fit);
  if (!pose.far) return;
  const near = -pose.far; // the near ear is seen: its key point says where it is
  const index = near === 1 ? 16 : 0;
  const [x, y, z] = MODEL[INDICES.indexOf(index)];
  const expected = pose.project([x * pose.fit, y, z]);
  const missed = [0, 1].map((k) => (points[index][k] - expected[k]) / pose.scale);
  const [, down, forward] = transposed(pose.turn).map((row) => dot([row[0], row[1], 0], [...missed, 0]));
  const share = clip((Math.abs(pose.yaw) - 0.2) / 0.4, 0, 1);
  const [u, v, w] = pose.ears[near];
  pose.ears[near] = [u, v + share * 0.6 * clip(down, -12, 12), w + share * clip(forward, -12, 12)];
}
