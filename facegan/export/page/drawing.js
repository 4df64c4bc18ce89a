// The generator: latents to faces, as facegan/networks/dcgan.py computes them. It runs in a worker of the page.
//
// A map is kept with its channels innermost and a border of zeros, (side + 2, side + 2, channels). Channels are filled
// up with zeros to a multiple of 8. Batch norm is folded: a norm is a scale and a shift of each channel.

import { edited, edit, openScorer } from "./edit.js";

// All halves (16 bits) as numbers.
function halves() {
  const all = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    all[bits] = bits & 0x8000 ? -size : size;
  }
  return all;
}

// conv.c in plain JavaScript, for browsers without WebAssembly's SIMD: two pixels and four channels at a time.
export function plainConvolution(numbers) {
  return (inAt, weightsAt, outAt, height, width, channels, outs) => {
    const x = numbers.subarray(inAt >> 2), w = numbers.subarray(weightsAt >> 2), out = numbers.subarray(outAt >> 2);
    for (let four = 0; four < outs; four += 4) {
      const own = (four >> 3) * 72 * channels + (four & 4);
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column += 2) {
          let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, q = own;
          for (let k = 0; k < 3; k++) {
            let p = ((row + k) * (width + 2) + column) * channels;
            for (const end = p + 3 * channels; p < end; p++, q += 8) {
              const left = x[p], right = x[p + channels], w0 = w[q], w1 = w[q + 1], w2 = w[q + 2], w3 = w[q + 3];
              a += left * w0; b += left * w1; c += left * w2; d += left * w3;
              e += right * w0; f += right * w1; g += right * w2; h += right * w3;
            }
          }
          const to = (row * width + column) * outs + four;
          out[to] = a; out[to + 1] = b; out[to + 2] = c; out[to + 3] = d;
          out[to + outs] = e; out[to + outs + 1] = f; out[to + outs + 2] = g; out[to + outs + 3] = h;
        }
      }
    }
  };
}

// Opens what facegan/export/html.py packed. `module`: conv.wasm, or null for plain JavaScript.
// network: { latent_dim, widths, depths, modulated, halves, singles, attributes, components }.
export async function openDrawing(network, bytes, module) {
  const { latent_dim: dim, widths, depths, modulated } = network, size = 4 << depths.length;
  let largest = 36 * widths[0], raw = 0;
  widths.slice(1).forEach((width, n) => {
    const side = 8 << n;
    largest = Math.max(largest, (side + 2) ** 2 * width);
    raw = Math.max(raw, side * side * (depths[n] ? width : 0), (side * side * width) / 4, side * side * 8);
  });
  const first = network.halves + network.singles, total = first + 2 * largest + raw, pages = Math.ceil(total / 16384);
  let memory = null, convolution = null;
  if (module) {
    try {
      memory = new WebAssembly.Memory({ initial: pages });
      convolution = (await WebAssembly.instantiate(module, { env: { memory } })).instance.exports.conv;
    } catch {
      convolution = null; // an old browser, or one that allows no WebAssembly
    }
  }
  const numbers = new Float32Array(convolution ? memory.buffer : new ArrayBuffer(4 * total));
  convolution ??= plainConvolution(numbers);

  const table = halves(), view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let n = 0; n < network.halves; n++) numbers[n] = table[view.getUint16(2 * n, true)];
  for (let n = 0; n < network.singles; n++) numbers[network.halves + n] = view.getFloat32(2 * network.halves + 4 * n, true);
  let half = 0, single = network.halves;
  const take = (count) => (half += count) - count, one = (count) => numbers.subarray(single, (single += count));
  const norm = (width, row) => ({ width, row, modulation: modulated ? take(2 * width * dim) : null, scale: one(width), shift: one(width), gain: one(1)[0] });

  const project = take(16 * widths[0] * dim), base = { scale: one(widths[0]), shift: one(widths[0]) };
  const octaves = depths.map((depth, n) => {
    const octave = { weights: take(9 * widths[n] * widths[n + 1]), norm: norm(widths[n + 1], n + 1), residuals: [] };
    for (let k = 0; k < depth; k++) octave.residuals.push({ weights: take(9 * widths[n + 1] ** 2), norm: norm(widths[n + 1], n + 1) });
    return octave;
  });
  const toRgb = take(72 * widths[depths.length]), bias = one(3);
  const scorer = network.attributes ? openScorer(numbers, take, one, network.attributes, dim) : null;
  const components = Array.from({ length: network.components }, () => one(dim));
  const maps = [first, first + largest], rawAt = first + 2 * largest, sums = numbers.subarray(rawAt);

  // A product of a latent and a matrix (dim, outs) at `at`.
  function product(z, at, outs) {
    const out = new Float32Array(outs);
    for (let i = 0; i < dim; i++) {
      const x = z[i], row = numbers.subarray(at + i * outs, at + (i + 1) * outs);
      for (let k = 0; k < outs; k++) out[k] += x * row[k];
    }
    return out;
  }

  // The scale and shift of a norm for one face: x (1 + a(z)) + b(z), where a and b are linear in z.
  function scales({ width, row, modulation, scale, shift, gain }, rows) {
    if (modulation === null) return [scale, shift];
    const found = product(rows[row], modulation, 2 * width);
    return [scale.map((s, k) => s * (1 + found[k])), shift.map((s, k) => s * (1 + found[k]) + gain * found[width + k])];
  }

  const convolve = (from, weights, side, channels, outs) => convolution(4 * from, 4 * weights, 4 * rawAt, side, side, channels, outs);

  // The sums of a convolution, scaled and shifted, enlarged bilinearly to twice the side, ReLU, into the map at `to`.
  function enlarge(side, width, scale, shift, to) {
    const twice = 2 * side, line = (twice + 2) * width, out = numbers.subarray(to, to + (twice + 2) * line);
    out.fill(0);
    for (let y = 0; y < twice; y++) {
      const near = y >> 1, other = Math.min(side - 1, Math.max(0, near + (y & 1 ? 1 : -1)));
      for (let x = 0; x < twice; x++) {
        const left = x >> 1, beside = Math.min(side - 1, Math.max(0, left + (x & 1 ? 1 : -1)));
        const a = (near * side + left) * width, b = (near * side + beside) * width;
        const c = (other * side + left) * width, d = (other * side + beside) * width, at = (y + 1) * line + (x + 1) * width;
        for (let k = 0; k < width; k++) {
          const sum = 0.5625 * sums[a + k] + 0.1875 * (sums[b + k] + sums[c + k]) + 0.0625 * sums[d + k];
          const value = sum * scale[k] + shift[k];
          out[at + k] = value > 0 ? value : 0;
        }
      }
    }
  }

  // x -> ReLU(x + the sums, scaled and shifted), in place.
  function add(side, width, scale, shift, to) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const from = (y * side + x) * width, at = to + ((y + 1) * (side + 2) + x + 1) * width;
        for (let k = 0; k < width; k++) {
          const value = numbers[at + k] + sums[from + k] * scale[k] + shift[k];
          numbers[at + k] = value > 0 ? value : 0;
        }
      }
    }
  }

  // The face of a latent, which may be wide: Uint8Array, RGB.
  function face(z) {
    const rows = [0, ...depths.map((_, n) => n + 1)].map((row) => (z.length > dim ? z.subarray(row * dim, (row + 1) * dim) : z));
    let [here, there] = maps, width = widths[0], side = 4;
    const start = product(rows[0], project, 16 * width);
    numbers.fill(0, here, here + 36 * width);
    start.forEach((value, n) => {
      const k = n % width, place = (n - k) / width;
      numbers[here + (((place >> 2) + 1) * 6 + (place & 3) + 1) * width + k] = Math.max(0, value * base.scale[k] + base.shift[k]);
    });
    for (const octave of octaves) {
      convolve(here, octave.weights, side, width, octave.norm.width);
      width = octave.norm.width;
      enlarge(side, width, ...scales(octave.norm, rows), there);
      [here, there] = [there, here];
      side *= 2;
      for (const residual of octave.residuals) {
        convolve(here, residual.weights, side, width, width);
        add(side, width, ...scales(residual.norm, rows), here);
      }
    }
    convolve(here, toRgb, side, width, 8);
    const rgb = new Uint8Array(3 * size * size);
    for (let n = 0; n < size * size; n++) {
      for (let k = 0; k < 3; k++) rgb[3 * n + k] = Math.round((Math.tanh(sums[8 * n + k] + bias[k]) + 1) * 127.5);
    }
    return rgb;
  }

  return {
    face,
    fast: memory !== null && numbers.buffer === memory.buffer,

    // A latent along components and attributes. steps: [number of a component from 1, amount] pairs; changes: [number
    // of an attribute from 0, amount] pairs; keep: numbers of attributes that stay.
    edit(z, { steps, changes, keep }) {
      let found = z;
      if (steps.length) found = edited(found, Float32Array.from({ length: dim }, (_, i) => steps.reduce((sum, [n, amount]) => sum + amount * components[n - 1][i], 0)));
      return changes.length ? edit(scorer, found, changes, keep) : found;
    },
  };
}

// In a worker: the first message opens the generator, the others ask for faces.
if (typeof WorkerGlobalScope !== "undefined") {
  let drawing = null;
  self.onmessage = async ({ data }) => {
    try {
      if (data.open) {
        drawing = await openDrawing(...data.open);
        self.postMessage({ id: 0, fast: drawing.fast });
        return;
      }
      const z = data.changes ? drawing.edit(data.z, data.changes) : data.z, rgb = drawing.face(z);
      self.postMessage({ id: data.id, z, rgb }, [rgb.buffer]);
    } catch (error) {
      self.postMessage({ id: data.id ?? 0, error: String(error) });
    }
  };
}
