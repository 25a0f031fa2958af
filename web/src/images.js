// What is done to pixels, as OpenCV does it in the tool. An image: {width, height, data}, RGBA bytes, alpha unused.

/** An image of these pixels, or an empty one. */
export function makeImage(width, height, data = new Uint8ClampedArray(4 * width * height)) {
  return { width, height, data };
}

/** Half to even, as Python and OpenCV round. */
export function round(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The part of an image between two corners, the second not included. */
export function part(image, x0, y0, x1, y1) {
  const width = x1 - x0;
  const height = y1 - y0;
  const data = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    const start = 4 * ((y + y0) * image.width + x0);
    data.set(image.data.subarray(start, start + 4 * width), 4 * y * width);
  }
  return makeImage(width, height, data);
}

/** At 1/2, 1/4, ... of its size, the smallest that is not below `factor`, and which one it is. */
export function halved(image, factor) {
  let share = 1;
  while (factor <= share / 2 && Math.min(image.width, image.height) > 1) {
    image = half(image);
    share /= 2;
  }
  return [image, share];
}

/** A pixel is the mean of four; an odd last row or column is left out. */
function half(image) {
  const width = image.width >> 1;
  const height = image.height >> 1;
  const from = image.data;
  const data = new Uint8ClampedArray(4 * width * height);
  let to = 0;
  for (let y = 0; y < height; y++) {
    let above = 8 * y * image.width;
    let below = above + 4 * image.width;
    for (let x = 0; x < width; x++, above += 8, below += 8, to += 4) {
      for (let c = 0; c < 3; c++) {
        data[to + c] = (from[above + c] + from[above + 4 + c] + from[below + c] + from[below + 4 + c] + 2) >> 2;
      }
      data[to + 3] = 255;
    }
  }
  return makeImage(width, height, data);
}

/** With at most `size` pixels on its long side, and the factor, at most 1, it was shrunk by. */
export function shrink(image, size) {
  const long = Math.max(image.width, image.height);
  if (size >= long) return [image, 1];
  const [small, share] = halved(image, size / long);
  const scale = size / Math.max(small.width, small.height);
  const sides = [small.width, small.height].map((side) => Math.max(1, round(side * scale)));
  return [resizeLinear(small, ...sides), share * scale];
}

/** Bilinear, to the bit as OpenCV's fixed-point numbers, in 2048ths: the networks compute in 8 bits, where a
 * little more or less can be a step. */
function resizeLinear(image, width, height) {
  const columns = linearTaps(image.width, width, false);
  const rows = linearTaps(image.height, height, true);
  const across = new Int32Array(3 * width * image.height);
  for (let y = 0, to = 0; y < image.height; y++) {
    const line = 4 * y * image.width;
    for (const [first, next, share, rest] of columns) {
      for (let c = 0; c < 3; c++) {
        across[to++] = image.data[line + 4 * first + c] * share + image.data[line + 4 * next + c] * rest;
      }
    }
  }
  const resized = makeImage(width, height);
  for (let y = 0, to = 0; y < height; y++) {
    const [first, next, share, rest] = rows[y];
    let above = 3 * first * width;
    let below = 3 * next * width;
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        const upper = (share * (across[above++] >> 4)) >> 16;
        const lower = (rest * (across[below++] >> 4)) >> 16;
        resized.data[to++] = (upper + lower + 2) >> 2;
      }
      resized.data[to++] = 255;
    }
  }
  return resized;
}

/** Of each of `size` new pixels of a side: the two that make it, and their shares in 2048ths. Beyond the outermost ones
 * a column is that column, and a row a share of that row and the rest of it, which is not rounded alike. */
function linearTaps(from, size, areRows) {
  const inside = (place) => Math.min(Math.max(place, 0), from - 1);
  return Array.from({ length: size }, (_, i) => {
    const exact = Math.fround(((i + 0.5) * from) / size - 0.5);
    const place = areRows ? exact : inside(exact);
    const first = Math.floor(place);
    const rest = Math.fround(place - first);
    return [inside(first), inside(first + 1), round(2048 * (1 - rest)), round(2048 * rest)];
  });
}

/** Enlarged by `factor`, at most doubled at once: in one step edges would become stairs. */
export function enlarge(image, factor) {
  if (factor > 2) return enlarge(enlarge(image, 2), factor / 2);
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, round(side * factor)));
  return resizeLinear(image, width, height);
}

/** The image in the top left corner of a larger one of one grey. */
export function padded(image, width, height, grey) {
  const large = makeImage(width, height);
  large.data.fill(grey);
  for (let y = 0; y < image.height; y++) {
    large.data.set(image.data.subarray(4 * y * image.width, 4 * (y + 1) * image.width), 4 * y * width);
  }
  return large;
}

/** With its outermost pixels repeated `border` times around it. */
export function framed(image, border) {
  const large = makeImage(image.width + 2 * border, image.height + 2 * border);
  const pixels = new Uint32Array(large.data.buffer);
  const from = new Uint32Array(image.data.buffer, image.data.byteOffset, image.width * image.height);
  for (let y = 0; y < large.height; y++) {
    const row = Math.min(Math.max(y - border, 0), image.height - 1) * image.width;
    for (let x = 0; x < large.width; x++) {
      pixels[y * large.width + x] = from[row + Math.min(Math.max(x - border, 0), image.width - 1)];
    }
  }
  return large;
}

/** The (width, height) picture whose pixel (x', y') shows the image at the place (x, y) that a map [a, b, c, d, e, f]
 * moves there: x' = a x + b y + c, y' = d x + e y + f. Black outside of the image. Places are rounded to 1/32 of a
 * pixel, by way of 1/1024, as OpenCV does. */
export function warp(image, [a, b, c, d, e, f], width, height) {
  const det = a * e - b * d;
  const fine = (value) => round(1024 * value);
  const warped = makeImage(width, height);
  for (let v = 0, to = 0; v < height; v++) {
    const startX = fine((-b * v + b * f - e * c) / det) + 16;
    const startY = fine((a * v + d * c - a * f) / det) + 16;
    for (let u = 0; u < width; u++, to += 4) {
      bilinear(image, (startX + fine((e * u) / det)) >> 5, (startY + fine((-d * u) / det)) >> 5, warped.data, to);
    }
  }
  return warped;
}

/** The pixel at x and y in 1/32 of a pixel, written to the place `to`. */
function bilinear(image, x, y, into, to) {
  const [x0, y0] = [x >> 5, y >> 5];
  let [red, green, blue] = [512, 512, 512]; // half of what is shifted away: it rounds
  for (let corner = 0; corner < 4; corner++) {
    const column = x0 + (corner & 1);
    const row = y0 + (corner >> 1);
    if (column < 0 || row < 0 || column >= image.width || row >= image.height) continue;
    const weight = (corner & 1 ? x & 31 : 32 - (x & 31)) * (corner >> 1 ? y & 31 : 32 - (y & 31));
    const at = 4 * (row * image.width + column);
    red += weight * image.data[at];
    green += weight * image.data[at + 1];
    blue += weight * image.data[at + 2];
  }
  into[to] = red >> 10;
  into[to + 1] = green >> 10;
  into[to + 2] = blue >> 10;
  into[to + 3] = 255;
}

/** The bytes of images of one size as a network takes them: (N, height, width, 3) RGB. */
export function packed(images) {
  const size = 3 * images[0].width * images[0].height;
  const bytes = new Uint8Array(size * images.length);
  images.forEach(({ data }, n) => {
    for (let to = n * size, at = 0; at < data.length; at += 4) {
      bytes[to++] = data[at];
      bytes[to++] = data[at + 1];
      bytes[to++] = data[at + 2];
    }
  });
  return bytes;
}
