// A face along named attributes, as facegan/editing/directions.py changes it, by the scores of facegan/editing/scorer.py.

const HIDDEN = 192, GIVE = 0.1, REST = 0.05, STEPS = 8;

// The network of scores, L z + W3 silu(W2 silu(W1 z + b1) + b2) + b3, and how many deviations one unit of an edit is.
export function openScorer(numbers, take, one, count, dim) {
  const layer = (rows, columns) => {
    const at = take(rows * columns);
    return (n) => numbers.subarray(at + n * columns, at + (n + 1) * columns);
  };
  const linear = layer(count, dim), first = layer(HIDDEN, dim), b1 = layer(1, HIDDEN)(0), second = layer(HIDDEN, HIDDEN), b2 = layer(1, HIDDEN)(0);
  return { count, dim, linear, first, b1, second, b2, last: layer(count, HIDDEN), b3: layer(1, count)(0), step: one(count) };
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function sumOf(weights, row, width) {
  const out = new Float64Array(width);
  for (let n = 0; n < weights.length; n++) {
    const w = weights[n], from = row(n);
    for (let i = 0; i < width; i++) out[i] += w * from[i];
  }
  return out;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x)), silu = (x) => x * sigmoid(x);
const slope = (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x)));

// The scores `rows` of a latent, and their derivatives by it.
function withSlopes(scorer, z, rows) {
  const { dim, linear, first, b1, second, b2, last, b3 } = scorer;
  const h1 = Float64Array.from(b1, (b, n) => b + dot(first(n), z)), h2 = Float64Array.from(b2, (b, n) => b + dot(second(n), h1.map(silu)));
  const top = h2.map(silu), slope1 = h1.map(slope), slope2 = h2.map(slope);
  return {
    scores: rows.map((row) => dot(linear(row), z) + dot(last(row), top) + b3[row]),
    slopes: rows.map((row) => {
      const back = sumOf(slope2.map((s, n) => s * last(row)[n]), second, HIDDEN).map((x, n) => x * slope1[n]);
      return sumOf(back, first, dim).map((x, i) => x + linear(row)[i]);
    }),
  };
}

// The solution of a x = b for a symmetric, positive matrix, by elimination.
function solve(a, b) {
  const n = b.length, x = [...b], left = a.map((row) => [...row]);
  for (let k = 0; k < n; k++) {
    for (let i = k + 1; i < n; i++) {
      const factor = left[i][k] / left[k][k];
      for (let j = k; j < n; j++) left[i][j] -= factor * left[k][j];
      x[i] -= factor * x[k];
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    for (let j = k + 1; j < n; j++) x[k] -= left[k][j] * x[j];
    x[k] /= left[k][k];
  }
  return x;
}

const norm = (z) => Math.sqrt(dot(z, z));

// z + dz at the norm that z has; wide latents get dz at every place.
export function edited(z, dz) {
  const moved = Float64Array.from(z, (x, i) => x + dz[i % dz.length]), size = norm(moved), scale = size > 0 ? norm(z) / size : 1;
  return Float32Array.from(moved, (x) => x * scale);
}

// directions.edit: the Gauss-Newton steps that move the scores of `changes` and leave those of `keep`.
export function edit(scorer, z, changes, keep) {
  const { count, dim, step } = scorer, changed = changes.map(([at]) => at), aims = new Set([...changed, ...keep]);
  const rows = [...aims, ...Array.from({ length: count }, (_, at) => at).filter((at) => !aims.has(at))], places = z.length / dim;
  const change = rows.map((_, n) => (n < changes.length ? changes[n][1] * step[changed[n]] : 0));
  const start = Float64Array.from({ length: dim }, (_, i) => {
    let sum = 0;
    for (let at = i; at < z.length; at += dim) sum += z[at];
    return sum / places;
  });
  const size = norm(start);
  let at = start, before = null;
  for (let n = 0; n < STEPS; n++) {
    const { scores, slopes } = withSlopes(scorer, at, rows), way = at.map((x, i) => x - start[i]);
    before ??= scores;
    const left = scores.map((score, k) => before[k] + change[k] * Math.min(1, (2 * (n + 1)) / STEPS) - score + dot(slopes[k], way));
    const gram = slopes.map((a, k) => slopes.map((b, j) => dot(a, b) + (k === j ? (k < aims.size ? GIVE : GIVE / REST) : 0)));
    const moved = sumOf(solve(gram, left), (k) => slopes[k], dim).map((x, i) => x + start[i]), scale = size / Math.max(norm(moved), 1e-12);
    at = moved.map((x) => x * scale);
  }
  return edited(z, Float32Array.from(at, (x, i) => x - start[i]));
}
