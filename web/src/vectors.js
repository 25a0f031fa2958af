// Sums with [x, y, z] and with 3x3 matrices (arrays of rows).

export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const times = (a, factor) => [a[0] * factor, a[1] * factor, a[2] * factor];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const unit = (a) => times(a, 1 / Math.max(Math.hypot(...a), 1e-9));
export const turned = (matrix, a) => [dot(matrix[0], a), dot(matrix[1], a), dot(matrix[2], a)];
export const transposed = (matrix) => [0, 1, 2].map((i) => matrix.map((row) => row[i]));
export const product = (one, other) => one.map((row) => transposed(other).map((column) => dot(row, column)));
export const clip = (value, low, high) => Math.min(Math.max(value, low), high);
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The rotation about an axis by its length in radians (Rodrigues). */
export function rotation(vector) {
  const angle = Math.hypot(...vector);
  const [x, y, z] = angle ? times(vector, 1 / angle) : [1, 0, 0];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const k = 1 - cos;
  return [
    [cos + k * x * x, k * x * y - sin * z, k * x * z + sin * y],
    [k * x * y + sin * z, cos + k * y * y, k * y * z - sin * x],
    [k * x * z - sin * y, k * y * z + sin * x, cos + k * z * z],
  ];
}

/** x of A x = b, by Gauss with the largest pivot. */
export function solve(A, b) {
  const rows = A.map((row, i) => [...row, b[i]]);
  const size = b.length;
  for (let i = 0; i < size; i++) {
    let pivot = i;
    for (let k = i + 1; k < size; k++) if (Math.abs(rows[k][i]) > Math.abs(rows[pivot][i])) pivot = k;
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    for (let k = i + 1; k < size; k++) {
      const factor = rows[k][i] / rows[i][i];
      for (let j = i; j <= size; j++) rows[k][j] -= factor * rows[i][j];
    }
  }
  const x = new Array(size).fill(0);
  for (let i = size - 1; i >= 0; i--) {
    let rest = rows[i][size];
    for (let j = i + 1; j < size; j++) rest -= rows[i][j] * x[j];
    x[i] = rest / rows[i][i];
  }
  return x;
}
