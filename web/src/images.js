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
  return [resize(small, ...sides, LINEAR), share * scale];
}

/** Enlarged by `factor`, smoothly. */
export function enlarge(image, factor) {
  return resize(image, round(image.width * factor), round(image.height * factor), CUBIC, factor);
}

// Weights of the pixels about a place, which is `t` beyond the one at index `before`.
const LINEAR = { before: 0, weights: (t) => [1 - t, t] };
const CUBIC = {
  before: 1,
  weights: (t) => {
    const a = -0.75; // OpenCV's
    const near = (d) => ((a + 2) * d - (a + 3)) * d * d + 1;
    const far = (d) => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    return [far(1 + t), near(t), near(1 - t), far(2 - t)];
  },
};

/** Which pixels make each of `size` new ones of a side, and with what weights. */
function taps(from, size, kernel, factor) {
  return Array.from({ length: size }, (_, i) => {
    const place = (i + 0.5) / factor - 0.5;
    const first = Math.floor(place);
    const weights = kernel.weights(place - first);
    const indices = weights.map((_, k) => Math.min(Math.max(first - kernel.before + k, 0), from - 1));
    return { indices, weights };
  });
}

function resize(image, width, height, kernel, factor) {
  const columns = taps(image.width, width, kernel, factor ?? width / image.width);
  const rows = taps(image.height, height, kernel, factor ?? height / image.height);
  const across = new Float32Array(3 * width * image.height);
  let to = 0;
  for (let y = 0; y < image.height; y++) {
    const line = 4 * y * image.width;
    for (const { indices, weights } of columns) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * image.data[line + 4 * indices[k] + c];
        across[to++] = sum;
      }
    }
  }
  const resized = makeImage(width, height);
  to = 0;
  for (const { indices, weights } of rows) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * across[3 * (indices[k] * width + x) + c];
        resized.data[to++] = sum; // clamped and rounded
      }
      resized.data[to++] = 255;
    }
  }
  return resized;
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

/** The (width, height) picture whose pixel (x, y) shows the image at the place that a map [a, b, c, d, e, f] moves
 * there: x' = a x + b y + c, y' = d x + e y + f. Black outside of the image. */
export function warp(image, [a, b, c, d, e, f], width, height) {
  const det = a * e - b * d;
  const warped = makeImage(width, height);
  let to = 0;
  for (let v = 0; v < height; v++) {
    for (let u = 0; u < width; u++, to += 4) {
      const x = (e * (u - c) - b * (v - f)) / det;
      const y = (a * (v - f) - d * (u - c)) / det;
      bilinear(image, x, y, warped.data, to);
      warped.data[to + 3] = 255;
    }
  }
  return warped;
}

function bilinear(image, x, y, into, to) {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  let red = 0;
  let green = 0;
  let blue = 0;
  for (let j = 0; j < 2; j++) {
    for (let i = 0; i < 2; i++) {
      const column = x0 + i;
      const row = y0 + j;
      if (column < 0 || row < 0 || column >= image.width || row >= image.height) continue;
      const weight = (i ? x - x0 : 1 - x + x0) * (j ? y - y0 : 1 - y + y0);
      const at = 4 * (row * image.width + column);
      red += weight * image.data[at];
      green += weight * image.data[at + 1];
      blue += weight * image.data[at + 2];
    }
  }
  into[to] = red;
  into[to + 1] = green;
  into[to + 2] = blue;
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
