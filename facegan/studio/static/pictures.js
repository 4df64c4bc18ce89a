// Faces on canvases. A face is RGB, three bytes a pixel; it is enlarged smoothly (Lanczos), as facegan's pictures are.

const taps = new Map();

// For each of size·factor places: where its 6 neighbours begin, and their weights.
function tapsFor(size, factor) {
  const key = `${size} ${factor}`;
  if (taps.has(key)) return taps.get(key);
  const reach = 3, length = size * factor, starts = new Int32Array(length), weights = new Float32Array(length * 6);
  for (let i = 0; i < length; i++) {
    const centre = (i + 0.5) / factor, first = Math.floor(centre - reach + 0.5);
    let sum = 0;
    for (let k = 0; k < 6; k++) {
      const x = Math.PI * (first + k + 0.5 - centre);
      const inside = first + k >= 0 && first + k < size && Math.abs(x) < Math.PI * reach;
      const w = !inside ? 0 : Math.abs(x) < 1e-9 ? 1 : (reach * Math.sin(x) * Math.sin(x / reach)) / (x * x);
      weights[6 * i + k] = w;
      sum += w;
    }
    for (let k = 0; k < 6; k++) weights[6 * i + k] /= sum;
    starts[i] = first;
  }
  const found = { starts, weights, length };
  taps.set(key, found);
  return found;
}

// A face as ImageData, `factor` times as large.
export function enlarged(rgb, size, factor) {
  const { starts, weights, length } = tapsFor(size, factor), rows = new Float32Array(size * length * 3);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < length; x++) {
      let r = 0, g = 0, b = 0;
      for (let k = 0; k < 6; k++) {
        const w = weights[6 * x + k];
        if (!w) continue;
        const at = 3 * (y * size + starts[x] + k);
        r += w * rgb[at]; g += w * rgb[at + 1]; b += w * rgb[at + 2];
      }
      const to = 3 * (y * length + x);
      rows[to] = r; rows[to + 1] = g; rows[to + 2] = b;
    }
  }
  const image = new ImageData(length, length), out = image.data, line = 3 * length;
  for (let y = 0; y < length; y++) {
    for (let x = 0; x < length; x++) {
      let r = 0, g = 0, b = 0;
      for (let k = 0; k < 6; k++) {
        const w = weights[6 * y + k];
        if (!w) continue;
        const at = line * (starts[y] + k) + 3 * x;
        r += w * rows[at]; g += w * rows[at + 1]; b += w * rows[at + 2];
      }
      const to = 4 * (y * length + x);
      out[to] = r; out[to + 1] = g; out[to + 2] = b; // this kind of array rounds by itself
      out[to + 3] = 255;
    }
  }
  return image;
}

// Paint a face on a canvas, about `pixels` large.
export function paint(canvas, rgb, size, pixels) {
  const factor = Math.max(1, Math.round(pixels / size));
  if (canvas.width !== size * factor) canvas.width = canvas.height = size * factor;
  canvas.getContext("2d").putImageData(enlarged(rgb, size, factor), 0, 0);
}
