// The latents of a seed, bit for bit as facegan.faces.latents.draw draws them with NumPy, so that 7:44 is the same person
// everywhere: numpy.random.SeedSequence, the generator Philox 4x64-10, and normal numbers by the ziggurat.

const LATENT = 0; // facegan.core.random_streams.Stream.LATENT

// Whole numbers as 32-bit words, the low ones first, as SeedSequence takes them.
function words(numbers) {
  const out = [];
  for (const number of numbers) {
    let left = BigInt(number);
    do {
      out.push(Number(left & 0xffffffffn));
      left >>= 32n;
    } while (left);
  }
  return out;
}

// Philox' key: SeedSequence([seed, stream, counter]).generate_state(2, uint64), after O'Neill's seed_seq_fe.
function keyOf(numbers) {
  const entropy = words(numbers), pool = new Uint32Array(4);
  let hash = 0x43b0d7e5;
  const hashed = (value) => {
    value ^= hash;
    hash = Math.imul(hash, 0x931e8875);
    value = Math.imul(value, hash);
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mixed = (x, y) => {
    const value = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
  for (let i = 0; i < 4; i++) pool[i] = hashed(entropy[i] ?? 0);
  for (let from = 0; from < 4; from++) for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  for (let from = 4; from < entropy.length; from++) for (let to = 0; to < 4; to++) pool[to] = mixed(pool[to], hashed(entropy[from]));
  hash = 0x8b51f9dd;
  const state = Array.from(pool, (value) => {
    value ^= hash;
    hash = Math.imul(hash, 0x58f38ded);
    value = Math.imul(value, hash);
    return BigInt((value ^ (value >>> 16)) >>> 0);
  });
  return [state[0] | (state[1] << 32n), state[2] | (state[3] << 32n)];
}

const LOW = 0xffffffffffffffffn, HALF = 0xffffffffn;

// Philox 4x64-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405), as 32-bit words.
function* philox(key) {
  for (let counter = 1n; ; counter++) {
    let [a, b, c, d] = [counter, 0n, 0n, 0n], [k, l] = key;
    for (let round = 0; round < 10; round++) {
      const first = 0xd2e7470ee14c6c93n * a, second = 0xca5a826395121157n * c;
      [a, b, c, d] = [(second >> 64n) ^ b ^ k, second & LOW, (first >> 64n) ^ d ^ l, first & LOW];
      k = (k + 0x9e3779b97f4a7c15n) & LOW;
      l = (l + 0xbb67ae8584caa73bn) & LOW;
    }
    for (const word of [a, b, c, d]) {
      yield Number(word & HALF);
      yield Number(word >> 32n);
    }
  }
}

// The ziggurat of 256 layers of equal area under exp(-x²/2) (Marsaglia and Tsang 2000, doi:10.18637/jss.v005.i08): for
// layer n `widths` turns 23 random bits into x, below `sure` x is under the curve for certain, `heights` is the curve.
const EDGE = 3.6541528853610087963519472518, AREA = 0.00492867323399;
const widths = new Float32Array(256), heights = new Float32Array(256), sure = new Uint32Array(256);
{
  const curve = (x) => Math.exp(-0.5 * x * x), scale = 2 ** 23;
  let x = EDGE, outer = EDGE;
  widths[0] = AREA / curve(EDGE) / scale;
  sure[0] = ((EDGE * curve(EDGE)) / AREA) * scale;
  heights[0] = 1;
  widths[255] = EDGE / scale;
  heights[255] = curve(EDGE);
  for (let n = 254; n >= 1; n--) {
    x = Math.sqrt(-2 * Math.log(AREA / x + curve(x)));
    sure[n + 1] = (x / outer) * scale;
    outer = x;
    widths[n] = x / scale;
    heights[n] = curve(x);
  }
  sure[1] = 0;
}

const f32 = Math.fround, INVERSE = f32(1 / EDGE);

// Latent number `index` of a seed, which is a string of digits or a number: a Float32Array of `count` numbers, ~ N(0, 1).
export function latent(seed, index, count) {
  const bits = philox(keyOf([seed, LATENT, index])), next = () => bits.next().value;
  const uniform = () => f32((next() >>> 8) / 16777216);
  return Float32Array.from({ length: count }, () => {
    for (;;) {
      const word = next(), layer = word & 255, whole = (word >>> 9) & 0x7fffff;
      const size = f32(whole * widths[layer]), x = (word >>> 8) & 1 ? -size : size;
      if (whole < sure[layer]) return x;
      if (layer === 0) {
        for (;;) {
          const beyond = f32(-INVERSE * f32(Math.log1p(-uniform()))), y = f32(-f32(Math.log1p(-uniform())));
          if (f32(y + y) > f32(beyond * beyond)) return (whole >>> 8) & 1 ? -f32(f32(EDGE) + beyond) : f32(f32(EDGE) + beyond);
        }
      }
      const place = f32(f32(f32(heights[layer - 1] - heights[layer]) * uniform()) + heights[layer]);
      if (place < Math.exp(-0.5 * x * x)) return x;
    }
  });
}
