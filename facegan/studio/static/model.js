// The model behind the page: here, facegan's server. Whoever puts another model behind the page writes this file anew.
// A model has `info`, `latents`, `faces`, `edit`, and what `info.can` says: words, film, photo, training.

import { floats, fromBase64, toBase64 } from "./latents.js";

// What went wrong, as a sentence for the page, and what to do.
export class Problem extends Error {
  constructor(sentence, hint = "") {
    super(sentence);
    this.hint = hint;
  }
}

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The studio does not answer.", "Is facegan studio still running in the terminal?");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    said = { error: text || `The studio answered ${answer.status}.` };
  }
  throw new Problem(said.error, said.hint);
}

function post(address, content, signal) {
  const binary = content instanceof Blob || ArrayBuffer.isView(content);
  const type = binary ? "application/octet-stream" : "application/json";
  const body = binary ? content : JSON.stringify(content);
  return ask(address, { method: "POST", body, signal, headers: { "content-type": type } });
}

async function bytes(answer) {
  return new Uint8Array(await answer.arrayBuffer());
}

function split(array, width) {
  return Array.from({ length: array.length / width }, (_, n) => array.slice(n * width, (n + 1) * width));
}

export async function openModel() {
  const info = await (await ask("info")).json();
  const face = 3 * info.size * info.size;

  return {
    info,
    atOnce: 20, // how many faces of a long row are asked for together, so that the first appear early
    tuned: "", // the tuned generator that draws; "" for the untouched one

    // Latents number first, first + 1, ... of a seed, which is a string of digits: it may be too long for a number.
    async latents(seed, first, count) {
      const body = `{"seed": ${seed}, "first": ${first}, "count": ${count}}`;
      const answer = await ask("latents", { method: "POST", body, headers: { "content-type": "application/json" } });
      return split(floats(await bytes(answer)), info.latent_dim);
    },

    // The faces of latents: Uint8Array each, RGB.
    async faces(latents, signal) {
      const found = [];
      for (const width of new Set(latents.map((z) => z.length))) {
        const places = latents.map((z, n) => n).filter((n) => latents[n].length === width);
        for (let start = 0; start < places.length; start += 64) {
          const some = places.slice(start, start + 64), all = new Float32Array(some.length * width);
          some.forEach((n, k) => all.set(latents[n], k * width));
          const answer = await post(`draw?width=${width}&model=${this.tuned}`, all, signal);
          split(await bytes(answer), face).forEach((rgb, k) => { found[some[k]] = rgb; });
        }
      }
      return found;
    },

    // The faces that words such as "smiling woman" name: [name, latent] pairs, which are averaged.
    async words(words) {
      const found = await (await post("words", { words, model: this.tuned })).json();
      return found.latents.map((text, n) => [found.faces[n], floats(fromBase64(text))]);
    },

    // A latent changed along attributes, and its face. changes: [name, amount] pairs, in which a number is a component.
    async edit(z, changes, keep) {
      const asked = changes.map(([name, amount]) => `${name}=${amount}`);
      const found = await (await post("edit", { latent: toBase64(z), changes: asked, keep, model: this.tuned })).json();
      return { z: floats(fromBase64(found.latent)), rgb: fromBase64(found.face) };
    },

    // A picture or film as a Blob. known: Map from SPEC to latent, for those that are no numbers of faces.
    async picture(kind, asked, known) {
      const sent = Object.fromEntries([...known].map(([spec, z]) => [spec, toBase64(z)]));
      const answer = await post(`picture/${kind}`, { ...asked, known: sent, model: this.tuned });
      return answer.blob();
    },

    async addPhoto(file, crop) {
      const answer = await post(`photo?name=${encodeURIComponent(file.name)}&crop=${crop}`, file);
      const found = await answer.json();
      return { ...found, face: fromBase64(found.face) };
    },
    async project(photos, plain) {
      return (await (await post("project", { photos, plain })).json()).projection;
    },
    async projection(key, looks) {
      const found = await (await ask(`project?projection=${key}&looks=${looks}`)).json();
      for (const name of ["look", "plain", "drawn"]) if (found[name]) found[name] = found[name].map(fromBase64);
      if (found.latents) found.latents = found.latents.map((text) => floats(fromBase64(text)));
      return found;
    },
    async stop(projection) {
      await post("stop", { projection });
    },
    async training(run) {
      return (await ask(`training${run ? `?run=${encodeURIComponent(run)}` : ""}`)).json();
    },
    async grid(run) {
      return (await ask(`training/grid?run=${encodeURIComponent(run)}`)).blob();
    },
  };
}
