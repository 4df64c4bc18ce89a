// Faces, how commands name them, and the collection of those that are kept.
//
// A face: { id, name, spec, z, parents, kind }. `spec` is what commands call it where it has a number, such as 7:44, or
// where `facegan project` writes its file; else null: then it is a file that the page offers, named after the face.

import { floats, fromBase64, readNpy, toBase64 } from "./latents.js";

const IDENTIFIER = "facegan faces", VERSION = 1, MOST = 2000;

export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

export function faceName(seed, index) {
  return seed === "0" ? String(index) : `${seed}:${index}`;
}

export function faceTitle(one) {
  return /^[\d:]+$/.test(one.name) ? `Face ${one.name}` : one.name;
}

let numbers = 0;

export function face(name, z, more = {}) {
  numbers += 1;
  return { id: `${Date.now().toString(36)}-${numbers}-${Math.random().toString(36).slice(2, 8)}`, name, spec: null, z, parents: [], kind: "", ...more };
}

export function specOf(one) {
  return one.spec ?? `${one.name.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.npy`;
}

// Latents and files of faces for a command: a Map for the model, and the [name, latent] pairs that must be downloaded.
// `written` are files that an earlier line of the command writes.
export function operands(faces, written = []) {
  const known = new Map(), files = new Map();
  for (const one of faces) {
    if (one.kind === "number") continue;
    known.set(specOf(one), one.z);
    if (!written.includes(one.spec)) files.set(specOf(one), one.z);
  }
  return { known, files: [...files] };
}

export class Collection extends EventTarget {
  constructor(model) {
    super();
    this.key = `facegan-studio ${model.info.sha256}`;
    this.generator = model.info.sha256;
    this.widths = [model.info.latent_dim, model.info.latent_dim * model.info.rows];
    this.faces = [];
    this.names = new Set(); // of all faces that were ever kept here: a command that names one must not mean another
    this.load();
    addEventListener("storage", (event) => { // another window of the studio
      if (event.key === this.key) this.load();
    });
  }

  load() {
    try {
      this.faces = this.read(localStorage.getItem(this.key) ?? "") ?? [];
    } catch { /* the browser keeps nothing: a private window */ }
    for (const one of this.faces) this.names.add(one.name);
    this.dispatchEvent(new Event("change"));
  }

  store() {
    try {
      localStorage.setItem(this.key, this.text());
    } catch {
      this.dispatchEvent(new Event("full"));
    }
    this.dispatchEvent(new Event("change"));
  }

  text() {
    const faces = this.faces.map((one) => ({ ...one, z: toBase64(one.z) }));
    return JSON.stringify({ format: IDENTIFIER, version: VERSION, generator: this.generator, faces });
  }

  // The faces of a text that `text` wrote; null if it is something else.
  read(text) {
    let found;
    try {
      found = JSON.parse(text);
    } catch {
      return null;
    }
    if (found?.format !== IDENTIFIER || !Array.isArray(found.faces)) return null;
    const faces = [];
    for (const one of found.faces.slice(0, MOST)) {
      try {
        const z = floats(fromBase64(one.z));
        if (typeof one.name !== "string" || /[\p{Cc}\p{Cf}]/u.test(`${one.name}${one.spec}`) || !this.widths.includes(z.length) || !z.every((x) => Math.abs(x) <= 1e6)) continue;
        const spec = typeof one.spec === "string" && !/[\\/]/.test(one.spec) ? one.spec.slice(0, 100) : null;
        const kind = one.kind === "number" && !/^(\d+:)?\d+$/.test(spec) ? "file" : String(one.kind ?? "");
        faces.push({ id: String(one.id), name: one.name.slice(0, 80), spec, z, kind, parents: Array.isArray(one.parents) ? one.parents.map(String) : [] });
      } catch { /* not a face */ }
    }
    return faces;
  }

  has(one) {
    return this.find(one) !== undefined;
  }

  find(one) {
    return this.faces.find((other) => other.id === one.id || (one.kind === "number" && other.spec === one.spec));
  }

  // Two files of one name would be one file to a command, so the second face gets another name.
  add(...faces) {
    for (const one of faces.filter((one) => !this.has(one))) {
      if (this.faces.some((other) => specOf(other) === specOf(one))) {
        Object.assign(one, { name: this.fresh(one.name.replace(/-\d+$/, "")), spec: null, kind: "file" });
      }
      this.names.add(one.name);
      this.faces.push(one);
    }
    if (this.faces.length > MOST) this.faces = this.faces.slice(-MOST);
    this.store();
  }

  remove(one) {
    const found = this.find(one);
    this.faces = this.faces.filter((other) => other !== found);
    this.store();
  }

  // A name that no kept face has or had: child-1, child-2, ...
  fresh(stem) {
    const taken = [...this.names].filter((name) => name.startsWith(`${stem}-`));
    return `${stem}-${1 + Math.max(0, ...taken.map((name) => Number(name.slice(stem.length + 1)) || 0))}`;
  }

  // Open a file that was saved here, or a .npy. Returns how many faces came.
  async open(file) {
    const before = this.faces.length;
    if (file.name.endsWith(".npy")) {
      const found = readNpy(await file.arrayBuffer(), this.widths);
      if (!found) throw Object.assign(new Error(`${file.name} holds no latents of this generator.`), { hint: `They have ${this.widths[0]} numbers each.` });
      const stem = file.name.slice(0, -4);
      this.add(...found.map((z, n) => face(found.length > 1 ? `${stem}-${n + 1}` : stem, z, { kind: "file" })));
    } else {
      const found = this.read(await file.text());
      if (!found) throw Object.assign(new Error(`${file.name} is not a file of faces.`), { hint: "Open one that the studio saved, or a .npy." });
      this.add(...found);
    }
    return this.faces.length - before;
  }

  blob() {
    return new Blob([this.text()], { type: "application/json" });
  }
}

