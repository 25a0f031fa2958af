// How do glasses look on this face?  As glasses/tryon.py, but painted by the canvas: sharper and without the photo's
// grain. Key points -> pose -> a mesh, lit as the face is -> from back to front: shadow, temples, lenses, rims.
import settings from "../settings.json";
import { FRAMES, SIDES, front, glassesParts, outlines, sideShield } from "./frames.js";
import { Pose, findPose } from "./pose.js";
import { add, clip, dot, mean, minus, rotation, times, unit } from "./vectors.js";

const { SKULL, CHEEKS, NOSE, GLASS } = settings.tryon;
const FINENESS = 56; // points a lens

/** Draw a frame on the face with these 68 points, in whose pixels the pen draws; scale: of the pen. */
export function wear(pen, points, frame, scale) {
  const pose = findPose(points);
  if (!Number.isFinite(pose.scale) || pose.scale * scale < 0.05) return; // a face of a few pixels
  const look = lookOf(pen, points);
  paint(pen, FRAMES[frame], pose, look, scale, points);
}

// ----------------------------------------------------------------------------------- how the photo looks

/** How bright and of what colour the light is on a face, and from where it comes. */
function lookOf(pen, points) {
  const at = pen.getTransform();
  const { width, height } = pen.canvas;
  const place = ([x, y]) => [
    clip(Math.round(at.a * x + at.e), 0, width - 1),
    clip(Math.round(at.d * y + at.f), 0, height - 1),
  ];
  const seen = points.slice(17, 48).map(place);
  const [x0, x1] = [Math.min(...seen.map(([x]) => x)), Math.max(...seen.map(([x]) => x)) + 1];
  const [y0, y1] = [Math.min(...seen.map(([, y]) => y)), Math.max(...seen.map(([, y]) => y)) + 1];
  const { data } = pen.getImageData(x0, y0, x1 - x0, y1 - y0);
  const every = 4 * Math.max(1, Math.floor(data.length / 4 / 1000));
  const pixels = [];
  for (let i = 0; i < data.length; i += every) pixels.push([data[i], data[i + 1], data[i + 2]]);
  const tone = [0, 1, 2].map((c) => mean(pixels.map((pixel) => pixel[c])));
  const bright =
    pixels.map((pixel) => Math.max(...pixel)).sort((a, b) => a - b)[Math.floor(0.97 * (pixels.length - 1))] / 255;
  const cheeks = CHEEKS.map(([a, b]) => {
    const [x, y] = place([0, 1].map((k) => 0.55 * points[a][k] + 0.45 * points[b][k]));
    const around = pen.getImageData(Math.max(x - 2, 0), Math.max(y - 2, 0), 5, 5).data;
    return [0, 1, 2].map((c) => mean(Array.from({ length: 25 }, (_, i) => around[4 * i + c])) / 255);
  });
  const skin = [0, 1, 2].map((c) => (cheeks[0][c] + cheeks[1][c]) / 2);
  const slope = clip((mean(cheeks[1]) - mean(cheeks[0])) / Math.max(mean(skin), 0.1), -0.6, 0.6);
  return {
    level: clip((0.5 * mean(skin)) / 0.55 + (0.5 * bright) / 0.9, 0.25, 1.1),
    colour: tone.map((v) => 1 + 0.25 * (v / Math.max(mean(tone), 5) - 1)),
    chroma: clip((Math.max(...skin) - Math.min(...skin)) / Math.max(...skin, 0.05) / 0.12, 0, 1),
    light: unit([1.1 * slope, -0.55, 0.8]),
  };
}

const WHITE = { level: 1, colour: [1, 1, 1], chroma: 1, light: unit([0.2, -0.55, 0.8]) };

/** A colour of 0 to 1 in white light -> as the photo shows it, with this alpha, for the canvas. */
function lit(colour, look, alpha = 1) {
  const there = colour.map((v, c) => v * look.level * look.colour[c]);
  const grey = mean(there);
  const bytes = there.map((v) => Math.round(255 * clip(grey + (v - grey) * look.chroma, 0, 1)));
  return `rgb(${bytes.join(" ")} / ${alpha.toFixed(3)})`;
}

// ------------------------------------------------------------------------------------------- the painter

/** Draw a pair of glasses; points: of the face, null where there is none. */
function paint(pen, design, pose, look, scale, points) {
  const { fronts, temples } = glassesParts(design, pose.fit, pose.ears, FINENESS);
  const onFace = (line) =>
    line.map((at) => front(design, at)).map(([x, y, z]) => pose.project([x * pose.fit, y * pose.fit, z]));
  const lenses = outlines(design, FINENESS * 2).map(onFace);
  const shields = SIDES.filter((side) => design.side_shields && !(side === pose.far && Math.abs(pose.yaw) > 0.3)).map(
    (side) => sideShield(design, side, pose.fit, pose.ears[side]).map((point) => pose.project(point)),
  );
  pen.save();
  pen.lineJoin = "round";
  if (points) castShadow(pen, design, pose, look, scale, lenses, points);
  drawQuads(pen, temples, design, pose, look, scale, Boolean(points));
  for (const shield of shields) drawGlass(pen, shield, look, pose, 0.16);
  pen.save();
  if (points && pose.far) clipNose(pen, design, pose, points);
  for (const lens of lenses) drawLens(pen, lens, design, look);
  if (Math.min(...design.rim) === 0) for (const lens of lenses) drawGlass(pen, lens, look, pose, 0);
  drawQuads(pen, fronts, design, pose, look, scale, false);
  pen.restore();
  pen.restore();
}

function trace(pen, outline) {
  pen.moveTo(...outline[0]);
  for (const point of outline.slice(1)) pen.lineTo(...point);
  pen.closePath();
}

/** Quadrilaterals from back to front, each in its light (Blinn and Phong, and a sky that metal mirrors). */
function drawQuads(pen, quads, design, pose, look, scale, behindSkull) {
  const eye = pose.eye;
  const seen = [];
  for (const quad of quads) {
    const alpha = quad.alpha * (behindSkull ? 1 - hidden(quad.centre, eye, pose.fit) : 1);
    if (alpha > 0.01 && dot(quad.normal, minus(eye, quad.centre)) > 0) {
      seen.push({ ...quad, alpha, near: pose.camera(quad.centre)[2] });
    }
  }
  pen.lineWidth = 0.8 / scale; // closes the seams between them
  for (const quad of seen.sort((a, b) => a.near - b.near)) {
    pen.beginPath();
    trace(
      pen,
      quad.corners.map((corner) => pose.project(corner)),
    );
    pen.fillStyle = shade(quad, design, eye, look);
    pen.fill();
    if (quad.alpha > 0.9) {
      pen.strokeStyle = pen.fillStyle;
      pen.stroke();
    }
  }
}

function shade({ normal, centre, colour, alpha }, design, eye, look) {
  const view = unit(minus(eye, centre));
  const diffuse = clip(dot(normal, look.light), 0, 1);
  const shine = clip(dot(normal, unit(add(look.light, view))), 0, 1);
  const mirrored = minus(times(normal, 2 * dot(normal, view)), view);
  const sky = 0.5 - 0.5 * Math.tanh(3 * (mirrored[1] + 0.15)); // bright above, dark below
  const gloss = design.metal ? 0.9 : 0.6;
  const lighter = design.metal
    ? colour.map((v) => v * (0.25 + 0.45 * diffuse + 0.65 * sky) + gloss * 0.55 * shine ** 40)
    : colour.map((v) => v * (0.45 + 0.65 * diffuse) + gloss * (0.06 * sky + 0.35 * shine ** 25));
  return lit(lighter, look, alpha);
}

/** 0 to 1: how far the skull is between a point and the camera. */
function hidden(point, eye, fit) {
  const reach = SKULL.map(([centre, [a, b, c]]) => {
    const inside = (place) => minus(place, centre).map((v, k) => v / [a * fit, b, c][k]);
    const start = inside(point);
    const ray = minus(inside(eye), start);
    const nearest = clip(-dot(start, ray) / dot(ray, ray), 0.002, 1);
    return Math.hypot(...add(start, times(ray, nearest)));
  });
  return clip((1 - Math.min(...reach)) / 0.06, 0, 1);
}

/** Nothing more is drawn where the nose hides the half of the front that is turned away. */
function clipNose(pen, design, pose, points) {
  const [top, bottom, beyond] = [
    [0, -60],
    [0, 60],
    [60 * pose.far, 0],
  ].map((at) => pose.project(front(design, at)));
  const nose = cutOff(hull(NOSE[pose.far].map((index) => points[index])), top, bottom, beyond);
  if (nose.length < 3) return;
  pen.beginPath();
  pen.rect(-1e5, -1e5, 2e5, 2e5);
  trace(pen, nose);
  pen.clip("evenodd");
}

/** Twice the area of a triangle, below zero the other way round: on which side of a line a point is. */
function side([a, b], [c, d], [e, f]) {
  return (c - a) * (f - b) - (d - b) * (e - a);
}

/** The part of a convex outline on that side of a line on which a point `there` is (Sutherland and Hodgman). */
function cutOff(outline, from, to, there) {
  const facing = Math.sign(side(from, to, there));
  return outline.flatMap((point, i) => {
    const next = outline[(i + 1) % outline.length];
    const [here, ahead] = [facing * side(from, to, point), facing * side(from, to, next)];
    const kept = here >= 0 ? [point] : [];
    if (here * ahead < 0) kept.push(point.map((v, k) => v + (here / (here - ahead)) * (next[k] - v)));
    return kept;
  });
}

/** The corners of points that none of the others surround, in turn (Andrew's monotone chain). */
function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (line) => {
    const kept = [];
    for (const point of line) {
      while (kept.length > 1 && side(kept.at(-2), kept.at(-1), point) <= 0) kept.pop();
      kept.push(point);
    }
    return kept.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

/** The shadow on the skin, away from the light. */
function castShadow(pen, design, pose, look, scale, lenses, points) {
  const forehead = [
    [-52, -55, -15],
    [-25, -75, 0],
    [25, -75, 0],
    [52, -55, -15],
  ].map((point) => pose.project(point));
  const [from, to] = [[0, 0, 0], times([look.light[0], look.light[1], 1], -9)].map((point) => pose.project(point));
  const at = pen.getTransform();
  const away = 4 * pen.canvas.width; // the shape itself is drawn out of sight, only its shadow into it
  pen.save();
  pen.beginPath();
  trace(pen, hull([...points, ...forehead]));
  pen.clip();
  pen.shadowColor = `rgb(0 0 0 / ${design.kind === "clear" ? 0.3 : 0.4})`;
  pen.shadowBlur = 2 * 2.2 * pose.scale * scale;
  pen.shadowOffsetX = away + at.a * (to[0] - from[0]);
  pen.shadowOffsetY = at.d * (to[1] - from[1]);
  pen.translate(-away / at.a, 0);
  pen.beginPath();
  for (const lens of lenses) trace(pen, lens);
  pen.lineWidth = Math.max(mean(design.rim), 1) * pose.scale;
  pen.strokeStyle = pen.fillStyle = "black";
  if (design.kind !== "clear") pen.fill();
  pen.stroke();
  pen.restore();
}

/** A lens: its tint, and a window that is reflected in it. */
function drawLens(pen, outline, design, look) {
  const [xs, ys] = [0, 1].map((k) => outline.map((point) => point[k]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const fill = (from, to, stops) => {
    const gradient = pen.createLinearGradient(...from, ...to);
    for (const [place, colour] of stops) gradient.addColorStop(place, colour);
    pen.fillStyle = gradient;
    pen.fill();
  };
  pen.beginPath();
  trace(pen, outline);
  if (design.kind === "tinted") {
    const [most, fade] = design.opacity;
    fill(
      [left, top],
      [left, bottom],
      [0, 0.25, 0.5, 0.75, 1].map((place) => {
        const t = clip((2 * place - 1 + 0.5) / 1.6, 0, 1);
        return [place, lit(design.tint, look, most - fade * t * t * (3 - 2 * t))];
      }),
    );
  } else {
    fill(
      [left, top],
      [left, bottom],
      [
        [0, lit([0.3, 0.34, 0.36], look, 0.04)],
        [1, lit([0.3, 0.34, 0.36], look, 0.02)],
      ],
    );
  }
  const glow = design.kind === "tinted" ? 0.09 : 0.14;
  const white = (alpha) => lit([0.93, 0.97, 1], look, alpha);
  fill(
    [left, top],
    [right, bottom],
    [
      [0, white(0.02)],
      [0.22, white(glow)],
      [0.44, white(glow)],
      [0.5, white(0.01)],
      [0.56, white(glow / 2)],
      [0.62, white(glow / 2)],
      [0.68, white(0)],
      [1, white(0)],
    ],
  );
}

/** The edge of glass, dark with a bright line, and a whitish veil. */
function drawGlass(pen, outline, look, pose, veil) {
  pen.beginPath();
  trace(pen, outline);
  if (veil) {
    pen.fillStyle = lit(GLASS[1][0], look, veil);
    pen.fill();
  }
  for (const [colour, width, opacity] of GLASS) {
    pen.lineWidth = width * Math.max(pose.scale, 0.35);
    pen.strokeStyle = lit(colour, look, 0.6 * opacity);
    pen.stroke();
  }
}

// -------------------------------------------------------------------------------------- pictures to choose

/** A row of pictures of the frames; chosen: called with a name, or null for none. */
export function framePictures(chosen) {
  const row = document.createElement("div");
  row.className = "row";
  for (const name of [null, ...Object.keys(FRAMES)]) {
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "frame", value: name ?? "" });
    input.id = `frame-${name ?? "none"}`;
    input.checked = !name;
    input.addEventListener("change", () => chosen(name));
    const label = Object.assign(document.createElement("label"), { htmlFor: input.id });
    const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 80 });
    if (name) {
      const pen = canvas.getContext("2d");
      const pose = new Pose(rotation([0.08, -0.3, 0]), [74, 36], 0.84);
      paint(pen, FRAMES[name], pose, WHITE, 1, null);
    } else {
      drawNone(canvas.getContext("2d"));
    }
    label.append(canvas, name ?? "none");
    const frame = document.createElement("div");
    frame.className = "frame";
    frame.append(input, label);
    row.append(frame);
  }
  return row;
}

/** A circle with a bar. */
function drawNone(pen) {
  pen.lineWidth = 4;
  pen.strokeStyle = "#8b867e";
  pen.beginPath();
  pen.arc(80, 40, 20, 0, 2 * Math.PI);
  pen.moveTo(66, 54);
  pen.lineTo(94, 26);
  pen.stroke();
}
