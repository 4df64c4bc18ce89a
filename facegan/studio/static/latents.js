// Arithmetic with latents, as facegan/faces/latents.py does it. A latent is a Float32Array: of
// `dim` numbers, or wide: one latent for each place where it enters the generator, side by side.

export function length(z) {
  let sum = 0;
  for (const x of z) sum += x * x;
  return Math.sqrt(sum);
}

// Scaled to the prior's norm, sqrt of the count of numbers; a zero stays zero.
export function normalise(z) {
  const norm = length(z), scale = norm > 0 ? Math.sqrt(z.length) / norm : 0;
  return Float32Array.from(z, (x) => x * scale);
}

// Latents of equal widths: if one is wide, the others are repeated.
export function alike(faces) {
  const width = Math.max(...faces.map((z) => z.length));
  return faces.map((z) => {
    if (z.length === width) return z;
    const wide = new Float32Array(width);
    for (let start = 0; start < width; start += z.length) wide.set(z, start);
    return wide;
  });
}

export function lerp(a, b, t) {
  return Float32Array.from(a, (x, i) => (1 - t) * x + t * b[i]);
}

// Along the great circle between the directions of a and b, while the norm goes linearly from |a| to |b|.
export function slerp(a, b, t) {
  if (t === 0 || t === 1) return (t ? b : a).slice();
  const normA = length(a), normB = length(b);
  if (!normA || !normB) return lerp(a, b, t);
  const p = Float64Array.from(a, (x) => x / normA), q = Float64Array.from(b, (x) => x / normB);
  let cosine = 0;
  for (let i = 0; i < p.length; i++) cosine += p[i] * q[i];
  const across = q.map((x, i) => x - cosine * p[i]);
  let sine = length(across);
  if (sine < 1e-7) {
    if (cosine > 0 || p.length === 1) return lerp(a, b, t);
    let least = 0;
    p.forEach((x, i) => { if (Math.abs(x) < Math.abs(p[least])) least = i; });
    const along = p[least];
    across.forEach((_, i) => { across[i] = (i === least ? 1 : 0) - along * p[i]; });
    const norm = length(across);
    across.forEach((x, i) => { across[i] = x / norm; });
  } else {
    across.forEach((x, i) => { across[i] = x / sine; });
  }
  const angle = t * Math.atan2(sine, cosine), size = (1 - t) * normA + t * normB;
  const c = Math.cos(angle), s = Math.sin(angle);
  return Float32Array.from(p, (x, i) => (c * x + s * across[i]) * size);
}

// A walk through points, `steps` latents from each to the next with both ends counted; a loop leaves out its last.
export function path(points, steps, loop) {
  const ends = loop ? [...points, points[0]] : points, walk = [];
  for (let n = 0; n + 1 < ends.length; n++) {
    for (let i = 0; i < steps - 1; i++) walk.push(slerp(ends[n], ends[n + 1], i / (steps - 1)));
  }
  if (!loop) walk.push(ends[ends.length - 1]);
  return walk;
}

export function mean(faces) {
  return Float32Array.from(faces[0], (_, i) => faces.reduce((sum, z) => sum + z[i], 0) / faces.length);
}

// The sum of sign·latent, at the prior's norm.
export function signedSum(signs, faces) {
  const wide = alike(faces);
  return normalise(Float32Array.from(wide[0], (_, i) => wide.reduce((sum, z, n) => sum + signs[n] * z[i], 0)));
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

// A child of parents: for each place where a latent enters (coarse shapes first, fine colours last) it takes after two of
// them by an angle of its own, and then turns a little towards a new face: the wilder, the farther.
export function child(parents, wildness, rows, dim) {
  const width = rows * dim, out = new Float32Array(width);
  const wide = parents.map((z) => (z.length === width ? z : alike([z, new Float32Array(width)])[0]));
  const order = wide.map((z) => [Math.random(), z]).sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
  const share = 0.2 + 0.6 * Math.random(), own = Array.from({ length: dim }, normal);
  for (let row = 0; row < rows; row++) {
    const part = (z) => z.slice(row * dim, (row + 1) * dim);
    const a = order[0], b = order[order.length > 2 ? 1 + ((Math.random() * (order.length - 1)) | 0) : order.length - 1];
    const t = Math.min(1, Math.max(0, share + (Math.random() - 0.5) * (0.5 + 0.9 * wildness)));
    const base = slerp(part(a), part(b), t), norm = length(base);
    const noise = own.map((x) => 0.85 * x + 0.53 * normal());
    const turn = wildness * 1.1 * (0.7 + 0.6 * Math.random()) + (parents.length === 1 ? 0.15 : 0);
    const far = length(noise), c = Math.cos(turn), s = (Math.sin(turn) * norm) / far;
    const mixed = base.map((x, i) => c * x + s * noise[i]), size = length(mixed);
    out.set(mixed.map((x) => (x * norm) / size), row * dim);
  }
  return out;
}

export function toBase64(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

export function floats(bytes) {
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

// A latent as a NumPy file (format 1.0).
export function npy(z) {
  let head = `{'descr': '<f4', 'fortran_order': False, 'shape': (${z.length},), }`;
  head = head.padEnd(64 * Math.ceil((head.length + 11) / 64) - 11) + "\n";
  const prefix = Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8);
  return new Blob([prefix, head, z], { type: "application/octet-stream" });
}

// The latents of a NumPy file of little-endian float32 or float64; null if it is something else.
export function readNpy(buffer, widths) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 12 || view.getUint32(0) !== 0x934e554d || view.getUint16(4) !== 0x5059) return null;
  const start = view.getUint8(6) === 1 ? 10 : 12;
  const size = start === 10 ? view.getUint16(8, true) : view.getUint32(8, true);
  const head = new TextDecoder("latin1").decode(new Uint8Array(buffer, start, Math.min(size, buffer.byteLength - start)));
  const type = /'descr': '<f([48])'/.exec(head), shape = /'shape': \((\d+),(?: (\d+))?\)/.exec(head);
  if (!type || !shape || !head.includes("'fortran_order': False")) return null;
  const width = Number(shape[2] ?? shape[1]), count = shape[2] ? Number(shape[1]) : 1, bytes = Number(type[1]);
  const body = buffer.slice(start + size);
  if (!widths.includes(width) || count > 2500 || body.byteLength !== width * count * bytes) return null;
  const all = bytes === 4 ? new Float32Array(body) : Float32Array.from(new Float64Array(body));
  if (!all.every((x) => Number.isFinite(x) && Math.abs(x) <= 1e6)) return null;
  return Array.from({ length: count }, (_, n) => all.slice(n * width, (n + 1) * width));
}
