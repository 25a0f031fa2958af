// Which shape have the frames?  As glasses/frames.py, whose designs settings.json holds. Lengths are millimetres in the
// space of the head: x to the right of the picture, y down, z towards the camera. A part is an array of
// {corners: four [x, y, z], normal, colour, alpha}.
import settings from "../settings.json";
import { add, clip, cross, dot, mean, minus, times, unit } from "./vectors.js";

export const { FRAMES, SIDES } = settings.frames;
const { LEAN } = settings.frames;

/** `count` points at equal distances on the quadratic B-spline of a polygon, by cutting corners (Chaikin, 1974). */
function smooth(corners, count, closed = true) {
  const size = corners[0].length;
  const between = (a, b, share) => a.map((v, k) => v + share * (b[k] - v));
  let points = corners;
  for (let round = 0; round < 5; round++) {
    const cut = [];
    const last = closed ? points.length : points.length - 1;
    for (let i = 0; i < last; i++) {
      const next = points[(i + 1) % points.length];
      cut.push(between(points[i], next, 0.25), between(points[i], next, 0.75));
    }
    points = closed ? cut : [points[0], ...cut, points.at(-1)];
  }
  if (closed) points = [...points, points[0]];
  const lengths = [0];
  for (let i = 1; i < points.length; i++) {
    lengths.push(lengths[i - 1] + Math.hypot(...points[i].map((v, k) => v - points[i - 1][k])));
  }
  const result = [];
  for (let i = 0, at = 1; i < count; i++) {
    const place = (lengths.at(-1) * i) / (closed ? count : count - 1);
    while (at < points.length - 1 && lengths[at] < place) at++;
    const share = (place - lengths[at - 1]) / Math.max(lengths[at] - lengths[at - 1], 1e-9);
    result.push(between(points[at - 1], points[at], share).slice(0, size));
  }
  return result;
}

/** [x, y] on the front -> [x, y, z]: it is bent about the face, and its lower edge leans to the cheeks. */
export function front(design, [x, y]) {
  return [x, y, design.forward - (x * x) / (2 * design.curve) - LEAN * y];
}

/** x of the centre of the right lens. */
function middleOf(design) {
  return design.one_piece ? 0 : (design.bridge + design.lens[0]) / 2;
}

const traced = new Map(); // the outlines of each frame that was asked for

/** The outline of each lens, `count` [x, y] of the front: the left, the right, or the shield. */
export function outlines(design, count) {
  const name = `${design.outline} ${design.lens} ${design.bridge} ${design.centre} ${count}`;
  if (!traced.has(name)) traced.set(name, trace(design, count));
  return traced.get(name);
}

function trace(design, count) {
  const [w, h] = design.lens.map((side) => side / 2);
  const corners = design.outline;
  if (design.one_piece) {
    const mirrored = corners
      .slice(1, -1)
      .reverse()
      .map(([x, y]) => [-x, y]);
    return [smooth([...corners, ...mirrored], count).map(([x, y]) => [x * w, y * h + design.centre])];
  }
  const right = smooth(corners, count).map(([x, y]) => [x * w + middleOf(design), y * h + design.centre]);
  return [right.map(([x, y]) => [-x, y]).reverse(), right];
}

/** The quadrilaterals of a grid of points, closed around; normals lead away from the points `inside`, one a row. */
function gridMesh(grid, inside, colour, closed) {
  const quads = [];
  const rows = grid.length;
  const columns = grid[0].length;
  for (let a = 0; a < (closed ? rows : rows - 1); a++) {
    const next = (a + 1) % rows;
    for (let b = 0; b < columns; b++) {
      const beside = (b + 1) % columns;
      const corners = [grid[a][b], grid[next][b], grid[next][beside], grid[a][beside]];
      const normal = unit(cross(minus(corners[2], corners[0]), minus(corners[3], corners[1])));
      const centre = times(corners.reduce(add), 0.25);
      const outwards = dot(normal, minus(centre, inside[a])) < 0 ? times(normal, -1) : normal;
      quads.push({ corners, normal: outwards, colour, alpha: 1, centre });
    }
  }
  return quads;
}

/** A bar along `path`: half as wide to both sides along `across`, half as deep along `out`, each a value a point. */
function tube(path, across, out, halfWidth, halfDepth, colour, closed = false, facets = 8) {
  const grid = path.map((point, i) =>
    Array.from({ length: facets }, (_, k) => {
      const angle = (2 * Math.PI * k) / facets + Math.PI / facets;
      const [wide, deep] = [Math.cos(angle), Math.sin(angle)].map((f) => Math.sign(f) * Math.abs(f) ** 0.6);
      return add(point, add(times(across[i], halfWidth[i] * wide), times(out[i], halfDepth[i] * deep)));
    }),
  );
  return gridMesh(grid, path, colour, closed);
}

/** Where the temples rest on the ears of an average head, by side. */
export function defaultEars(fit) {
  return Object.fromEntries(SIDES.map((side) => [side, [side * 74 * fit, -10, -80]]));
}

/** The solid parts of a pair of glasses: those of the front, and the temples; fineness: points a lens. */
export function glassesParts(design, fit, ears, fineness) {
  const fronts = [];
  if (Math.max(...design.rim) > 0) {
    for (const outline of outlines(design, fineness * (design.one_piece ? 2 : 1))) fronts.push(...rim(design, outline));
  }
  for (const [height, rise] of design.bars) fronts.push(...bridge(design, height, rise));
  if (design.pads) for (const side of SIDES) fronts.push(...pad(design, side));
  const fitted = ([x, y, z]) => [x * fit, y * fit, z];
  for (const quad of fronts) {
    quad.corners = quad.corners.map(fitted);
    quad.centre = fitted(quad.centre);
  }
  const temples = SIDES.flatMap((side) => temple(design, side, fit, ears[side], fineness));
  if (design.mottled) for (const quad of [...fronts, ...temples]) mottle(quad);
  return { fronts, temples };
}

/** The light and dark spots of tortoiseshell. */
function mottle(quad) {
  const [x, y, z] = times(quad.centre, 1 / 9);
  const spots =
    Math.sin(2.1 * x + 1.3 * Math.sin(1.7 * y + z)) + Math.sin(2.9 * y - 1.1 * x + 1.9 * Math.sin(1.3 * x - z));
  quad.colour = times(quad.colour, 0.8 + 0.45 * clip(spots, -1.1, 1.5));
}

/** The rim about a lens, from the width above to the width below. */
function rim(design, outline) {
  const count = outline.length;
  const centre = [0, 1].map((k) => mean(outline.map((point) => point[k])));
  const unit2 = ([x, y]) => [x / Math.max(Math.hypot(x, y), 1e-9), y / Math.max(Math.hypot(x, y), 1e-9)];
  let outwards = outline.map((_, i) => {
    const [before, after] = [outline[(i + count - 1) % count], outline[(i + 1) % count]];
    return unit2([after[1] - before[1], before[0] - after[0]]);
  });
  const away = outline.reduce(
    (sum, [x, y], i) => sum + (x - centre[0]) * outwards[i][0] + (y - centre[1]) * outwards[i][1],
    0,
  );
  if (away < 0) outwards = outwards.map(([x, y]) => [-x, -y]);
  const [above, below] = design.rim;
  const widths = outwards.map(([, y]) => below + (above - below) * clip(0.5 - (below ? 0.9 : 3) * y, 0, 1));
  const path = outline.map(([x, y], i) =>
    front(design, [x + (outwards[i][0] * widths[i]) / 2, y + (outwards[i][1] * widths[i]) / 2]),
  );
  const across = outline.map(([x, y], i) =>
    unit(minus(front(design, [x + outwards[i][0], y + outwards[i][1]]), front(design, [x, y]))),
  );
  const out = across.map((side, i) => unit(cross(side, minus(path[(i + 1) % count], path[(i + count - 1) % count]))));
  const depths = widths.map((width) => Math.min(design.depth, 1.5 * width + 0.1) / 2);
  const quads = tube(
    path,
    across,
    out,
    widths.map((width) => width / 2),
    depths,
    design.colour,
    true,
  );
  quads.forEach((quad, i) => (quad.alpha = widths[Math.floor(i / (quads.length / count))] > 0.3 ? 1 : 0));
  return quads;
}

/** A bar of the bridge, an arch over the nose between the lenses. */
function bridge(design, height, rise) {
  const y = design.centre - (height * design.lens[1]) / 2;
  const near = outlines(design, 160)
    .at(-1)
    .filter((point) => Math.abs(point[1] - y) < 4);
  let reach = near.length ? Math.min(...near.map(([x]) => x)) + 0.4 : design.bridge / 2 + 0.2 * design.lens[0];
  if (height > 0.9) reach = design.bridge / 2 + 0.22 * design.lens[0]; // along the top of the lenses
  const places = Array.from({ length: 17 }, (_, i) => i / 8 - 1);
  const path = places.map((t) => add(front(design, [t * reach, y - rise * (1 - t * t)]), [0, 0, 1.5 * (1 - t * t)]));
  const across = path.map((_, i) => unit(cross(slope(path, i), [0, 0, 1])));
  const widths = places.map((t) => (design.bar_width * (0.85 + 0.25 * t * t)) / 2);
  return tube(
    path,
    across,
    path.map(() => [0, 0, 1]),
    widths,
    path.map(() => design.depth / 2),
    design.colour,
  );
}

function slope(path, i) {
  return minus(path[Math.min(i + 1, path.length - 1)], path[Math.max(i - 1, 0)]);
}

/** The pad of clear silicone at one side of the nose. */
function pad(design, side) {
  const places = Array.from({ length: 9 }, (_, i) => i / 4 - 1);
  const path = places.map((t) => [
    side * (design.bridge / 2 - 1.5 + 2.5 * t),
    design.centre + 1 + 5.5 * t,
    design.forward - 5,
  ]);
  const widths = places.map((t) => 1.9 * Math.sqrt(1 - 0.95 * t * t));
  const quads = tube(
    path,
    path.map(() => [1, 0, 0]),
    path.map(() => [0, 0, 1]),
    widths,
    path.map(() => 1),
    [0.75, 0.75, 0.72],
  );
  for (const quad of quads) quad.alpha = 0.35;
  return quads;
}

/** [x, y] on the front where a temple begins: at the outside of the rim. */
function hingePoint(design, side) {
  const y = design.centre - (design.hinge * design.lens[1]) / 2;
  const near = outlines(design, 160)
    .at(-1)
    .filter((point) => Math.abs(point[1] - y) < 3);
  return [side * (Math.max(...near.map(([x]) => x)) + Math.max(0, design.rim[0] / 2 - 0.5)), y];
}

/** An end piece, and the temple from its hinge to the ear and down behind it, where it fades. */
function temple(design, side, fit, ear, fineness) {
  const [x, y, z] = front(design, hingePoint(design, side));
  const start = [x * fit, y * fit, z];
  const turn = clip(Math.abs(ear[0]) - Math.abs(start[0]) - 2, 2, 4.5);
  const corner = add(start, [side * turn, 0, -1]);
  const inner = minus(start, [side * 1.5, 0, 0]);
  const behind = add(ear, [-side * 2, 20, -14]);
  const path = smooth([inner, corner, add(corner, [side * 0.5, 0, -6]), ear, behind], fineness, false);
  const along = path.map((_, i) => unit(slope(path, i)));
  const across = along.map((way) => unit(minus([0, 1, 0], times(way, way[1]))));
  const out = along.map((way, i) => cross(way, across[i]));
  const [high, low] = design.temple;
  const heights = path.map(
    (point) => (high + (low - high) * clip((start[2] - point[2]) / (start[2] - ear[2]), 0, 1)) / 2,
  );
  const quads = tube(
    path,
    across,
    out,
    heights,
    path.map(() => (design.metal ? 0.8 : 1.4)),
    design.colour,
  );
  for (const quad of quads) quad.alpha = clip((quad.centre[2] - ear[2] + 6) / 12, 0, 1);
  return quads;
}

/** The outline of the clear shield of safety glasses, between lens, temple and cheek. */
export function sideShield(design, side, fit, ear) {
  const edge = outlines(design, 160)
    .at(-1)
    .filter(([x]) => x > 0.4 * design.lens[0])
    .sort((a, b) => a[1] - b[1])
    .map(([x, y]) => front(design, [x * side, y]))
    .map(([x, y, z]) => [x * fit, y * fit, z]);
  const top = add(edge[0], times(minus(ear, edge[0]), 0.42));
  const high = edge.at(-1)[1] - edge[0][1];
  return [...edge, [top[0], top[1] + 0.75 * high, top[2] + 6], top];
}
