// The model behind the page: here, the generator inside it, which workers of the page draw with. It stands in the place
// of facegan/studio/static/model.js, which asks facegan's server.

import { alike, fromBase64, mean, normalise, path, signedSum } from "./latents.js";
import { latent } from "./numbers.js";
import { enlarged } from "./pictures.js";

// What went wrong, as a sentence for the page, and what to do.
export class Problem extends Error {
  constructor(sentence, hint = "") {
    super(sentence);
    this.hint = hint;
  }
}

const MOST_WORKERS = 4, CAPTION = 22;

const text = (id) => document.getElementById(id).textContent.trim();

// Workers that draw faces. What is asked of `do` first is done first, but what is `urgent` comes before the rest.
class Workers {
  constructor(opening) {
    const script = URL.createObjectURL(new Blob([text("drawing")], { type: "text/javascript" }));
    this.waiting = [];
    this.asked = new Map();
    this.count = Math.max(1, Math.min(MOST_WORKERS, navigator.hardwareConcurrency || 2));
    this.free = [];
    this.number = 0;
    this.ready = Promise.all(Array.from({ length: this.count }, () => new Promise((done, failed) => {
      const worker = new Worker(script);
      worker.onerror = (event) => failed(new Problem(`This browser cannot draw with the generator: ${event.message ?? "it runs no workers"}.`, "Open the file in another browser."));
      worker.onmessage = ({ data }) => {
        if (data.error && !data.id) failed(new Problem(`The generator in this file cannot be opened: ${data.error}.`, "Load the file again; a part may be missing."));
        else if (!data.id) done(data);
        else {
          const [resolve, reject] = this.asked.get(data.id);
          this.asked.delete(data.id);
          if (data.error) reject(new Problem(`The face could not be drawn: ${data.error}.`));
          else resolve(data);
        }
        this.free.push(worker);
        this.next();
      };
      worker.postMessage({ open: opening });
    })));
  }

  do(job, urgent = false) {
    this.number += 1;
    const id = this.number;
    return new Promise((resolve, reject) => {
      this.asked.set(id, [resolve, reject]);
      if (urgent) this.waiting.unshift({ ...job, id });
      else this.waiting.push({ ...job, id });
      this.next();
    });
  }

  next() {
    while (this.free.length && this.waiting.length) this.free.pop().postMessage(this.waiting.shift());
  }
}

function canvasOf(width, height, paper) {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = width;
  canvas.height = height;
  if (paper) {
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.fillStyle = "black";
    context.textAlign = "center";
    context.font = "14px sans-serif";
  }
  return { canvas, context };
}

function png(canvas) {
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Problem("The browser cannot write this picture."))), "image/png"));
}

export async function openModel() {
  const { info, network } = JSON.parse(text("facts")), { size, latent_dim: dim } = info;
  const workers = new Workers([network, fromBase64(text("weights")), fromBase64(text("convolution")).buffer]);
  document.getElementById("weights").remove(); // the text is not needed any more
  await workers.ready;
  const named = new Map(info.attributes.known.map((attribute, at) => [attribute.name, at]));

  const one = (item) => {
    const [index, seed = "0"] = item.trim().split(":").reverse();
    return latent(seed, index, dim);
  };
  const found = (spec, known) => {
    if (known.has(spec)) return [known.get(spec)];
    return spec.split(",").map((item) => known.get(item.trim()) ?? one(item));
  };
  const point = (faces) => (faces.length > 1 ? normalise(mean(faces)) : faces[0]);

  const model = {
    info,
    tuned: "",
    atOnce: workers.count, // how many faces are asked for together, so that they appear as they are drawn

    async latents(seed, first, count) {
      return Array.from({ length: count }, (_, n) => latent(seed, first + n, dim));
    },

    async faces(latents) {
      const done = await Promise.all(latents.map((z) => workers.do({ z }, latents.length === 1)));
      return done.map(({ rgb }) => rgb);
    },

    async edit(z, changes, keep) {
      const steps = changes.filter(([name]) => typeof name === "number").map(([number, amount]) => [number, Number(amount)]);
      const moved = changes.filter(([name]) => typeof name === "string").map(([name, amount]) => [named.get(name), Number(amount)]);
      return workers.do({ z, changes: { steps, changes: moved, keep: keep.map((name) => named.get(name)) } }, true);
    },

    // A picture as a PNG: a face, a film strip, or an equation.
    async picture(kind, { specs, signs, scale, steps, loop }, known) {
      const terms = specs.map((spec) => found(spec, known));
      if (kind === "face") {
        const [rgb] = await model.faces([point(terms[0])]), { canvas, context } = canvasOf(size * scale, size * scale);
        context.putImageData(enlarged(rgb, size, scale), 0, 0);
        return png(canvas);
      }
      const line = kind === "strip";
      const shown = line ? path(alike(terms.map(([z]) => z)), steps, loop) : [...terms.map(point), signedSum(signs, terms.map((faces) => (faces.length > 1 ? mean(faces) : faces[0])))];
      const factor = Math.max(1, Math.round(128 / size)), side = size * factor, gap = line ? 4 : 32, columns = Math.min(shown.length, line ? 12 : 6);
      const rows = Math.ceil(shown.length / columns), high = side + (line ? gap : gap + CAPTION);
      const { canvas, context } = canvasOf(columns * (side + gap) + gap, rows * high + gap, true);
      const faces = await model.faces(shown);
      faces.forEach((rgb, n) => {
        const x = gap + (n % columns) * (side + gap), y = gap + Math.floor(n / columns) * high;
        context.putImageData(enlarged(rgb, size, factor), x, y);
        if (line) return;
        const sign = n === signs.length ? "=" : signs[n] < 0 ? "−" : n ? "+" : "";
        context.fillText(sign, x - gap / 2, y + side / 2);
        context.fillText(specs[n] ?? "", x + side / 2, y + side + CAPTION - 6, side + gap - 4);
      });
      return png(canvas);
    },
  };
  return model;
}
