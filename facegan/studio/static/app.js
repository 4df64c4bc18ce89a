// The page: its screens, the shelf of kept faces, and what they share.

import { Collection, faceTitle, operands, quoted, specOf } from "./collection.js";
import { npy } from "./latents.js";
import { openModel } from "./model.js";
import { paint } from "./pictures.js";
import { canvas, commandBox, complain, h, icon, menu, save, say, worker } from "./ui.js";
import { wall } from "./wall.js";
import { breed } from "./breed.js";
import { sliders } from "./sliders.js";
import { morph } from "./morph.js";
import { equation } from "./equation.js";
import { photo } from "./photo.js";
import { training } from "./training.js";

const SCREENS = [["wall", "Wall", wall], ["breed", "Breed", breed], ["sliders", "Sliders", sliders], ["morph", "Morph", morph],
  ["equation", "Equation", equation], ["photo", "Your photo", photo], ["training", "Training", training]];

class App extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    this.size = model.info.size;
    this.kept = new Collection(model);
    this.pictures = new WeakMap(); // latent -> RGB, by the generator that draws now
    this.tuned = null; // { model, files, names, photos } of the photos that the generator was tuned to
    this.memory = `facegan-studio tuned ${model.info.sha256}`;
    try {
      const before = JSON.parse(localStorage.getItem(this.memory)); // of this page before a reload
      if (model.info.models.includes(before?.model)) {
        this.tuned = before;
        model.tuned = before.model;
      }
    } catch { /* nothing that this page wrote */ }
    this.kept.addEventListener("full", () => say("The browser has no room for more kept faces.", { hint: "Save them to a file.", wrong: true }));
  }

  // How commands name the generator, and the lines that must come before.
  get word() {
    return this.model.tuned ? "us.safetensors" : this.model.info.word;
  }

  get before() {
    if (!this.model.tuned) return [];
    return [`facegan project ${this.tuned.names.map(quoted).join(" ")}${this.tuned.crop === "square" ? " --crop square" : ""} --generator ${this.model.info.word} --out us.png`];
  }

  command(line, faces = [], note = "") {
    const { files } = operands(faces, this.model.tuned ? this.tuned.files : []);
    return { lines: [...this.before, line], files, note };
  }

  faceCommand(one) {
    return this.command(`facegan sample ${this.word} --faces ${quoted(specOf(one))} --separate --scale 8`, [one]);
  }

  async rgb(latents, signal) {
    const missing = latents.filter((z) => !this.pictures.has(z));
    if (missing.length) {
      const cache = this.pictures, found = await this.model.faces(missing, signal);
      missing.forEach((z, n) => cache.set(z, found[n]));
    }
    return latents.map((z) => this.pictures.get(z));
  }

  async paint(element, z, pixels) {
    const [rgb] = await this.rgb([z]);
    paint(element, rgb, this.size, pixels);
  }

  // Draw by a generator that was tuned to photos, or by the untouched one (null).
  drawBy(tuned, use = true) {
    if (tuned) {
      this.tuned = tuned;
      try {
        localStorage.setItem(this.memory, JSON.stringify(tuned));
      } catch { /* a private window */ }
    }
    this.model.tuned = use && this.tuned ? this.tuned.model : "";
    this.pictures = new WeakMap();
    this.dispatchEvent(new Event("model"));
  }

  keep(one) {
    if (this.kept.has(one)) return;
    this.kept.add(one);
    say(`${one.name} is kept.`, { action: h("button", { type: "button", class: "plain", onclick: () => this.kept.remove(one) }, "Undo") });
  }

  toggle(one) {
    if (this.kept.has(one)) this.kept.remove(one);
    else this.kept.add(one);
  }

  async download(one, scale) {
    const { known } = operands([one]);
    const blob = await this.model.picture("face", { specs: [specOf(one)], scale }, known);
    save(blob, `${one.name.replace(/[^\w-]+/g, "-")}-${this.size * scale}.png`);
  }

  // The menu of downloads for one face; `get` gives it, or null.
  downloads(get) {
    const sizes = [1, 4, 8, 16].map((scale) => [`PNG, ${this.size * scale} px`, async () => { const one = get(); if (one) await this.download(one, scale); }]);
    return menu("Download", [...sizes, ["Latent, .npy", async () => { const one = get(); if (one) save(npy(one.z), specOf({ ...one, spec: null })); }]]);
  }

  // A face large, with its name, its command and what can be done with it.
  show(one) {
    const picture = canvas("large", null, this.size, 0, `The face ${one.name}`), box = commandBox();
    box.show(this.faceCommand(one));
    this.paint(picture, one.z, 448).catch(complain);
    const go = (screen) => worker(SCREENS.find(([key]) => key === screen)[1], () => {
      dialog.close();
      location.hash = screen;
      this.screens.get(screen).use(one);
    });
    const keep = h("button", { type: "button", class: "keep" });
    const label = () => {
      const has = this.kept.has(one);
      keep.replaceChildren(icon("keep"), has ? "Kept" : "Keep");
      keep.setAttribute("aria-pressed", String(has));
    };
    keep.addEventListener("click", () => { this.toggle(one); label(); });
    label();
    const parents = one.parents.length ? h("p", { class: "quiet" }, `Child of ${one.parents.join(" and ")}`) : null;
    const dialog = h("dialog", { class: "detail", "aria-label": `The face ${one.name}` },
      h("button", { type: "button", class: "plain close", "aria-label": "Close", onclick: () => dialog.close() }, icon("x")),
      picture,
      h("div", { class: "facts" }, h("h2", {}, faceTitle(one)), parents,
        h("div", { class: "row" }, keep, this.downloads(() => one)),
        h("h3", {}, "Use it in"), h("div", { class: "row" }, ["breed", "sliders", "morph", "equation"].map(go)),
        h("h3", {}, "Make it in the terminal"), box.element));
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    document.body.append(dialog);
    dialog.showModal();
  }
}

function buildShelf(app, current) {
  const shelf = document.getElementById("shelf"), row = h("div", { class: "kept", role: "list" });
  const count = h("span", {}), hint = h("span", { class: "quiet hint" });
  const none = h("p", { class: "quiet none" }, "Faces that you click on the wall come here. Every screen can use them.");
  const opening = h("input", { type: "file", accept: ".json,.npy", hidden: true, multiple: true });
  opening.addEventListener("change", async () => {
    for (const file of opening.files) {
      try {
        const came = await app.kept.open(file);
        say(came === 1 ? "One face was added." : `${came} faces were added.`);
      } catch (error) {
        complain(error);
      }
    }
    opening.value = "";
  });
  const actions = menu("File", [
    ["Save kept faces", async () => save(app.kept.blob(), "kept-faces.json")],
    ["Open faces …", async () => opening.click()],
    ["Remove all", async () => {
      const before = [...app.kept.faces];
      app.kept.faces = [];
      app.kept.store();
      say("All kept faces were removed.", { action: h("button", { type: "button", class: "plain", onclick: () => app.kept.add(...before) }, "Undo") });
    }],
  ], "file");
  shelf.append(h("div", { class: "bar" }, count, hint, actions, opening), none, row);
  shelf.hidden = false;
  const entries = new Map();

  async function draw() {
    const faces = app.kept.faces, screen = current();
    count.replaceChildren(h("strong", {}, "Kept"), ` ${faces.length || ""}`);
    hint.textContent = faces.length ? screen.hint ?? "Click one to see it large." : "";
    none.hidden = faces.length > 0;
    const ids = new Set(faces.map((one) => one.id));
    for (const [id, entry] of entries) {
      if (ids.has(id)) continue;
      entry.element.remove();
      entries.delete(id);
    }
    const fresh = [];
    for (const one of faces) {
      if (entries.has(one.id)) continue;
      const picture = h("canvas", { class: "picture", width: 1, height: 1 });
      const use = h("button", { type: "button", class: "face", draggable: "true", "aria-label": `Use ${one.name}`,
        onclick: () => (current().hint ? current().use(one) : app.show(one)) }, picture);
      use.addEventListener("dragstart", (event) => {
        event.dataTransfer.setData("text/x-facegan-face", one.id);
        event.dataTransfer.effectAllowed = "copy";
      });
      const name = h("button", { type: "button", class: "plain name", "aria-label": `About ${one.name}`, title: "See it large, download it, remove it", onclick: () => app.show(one) }, one.name);
      const element = h("div", { class: "tile", role: "listitem" }, use, name);
      entries.set(one.id, { element, picture, one });
      row.append(element);
      fresh.push({ picture, one });
    }
    if (fresh.length) {
      row.scrollLeft = row.scrollWidth;
      const found = await app.rgb(fresh.map(({ one }) => one.z));
      fresh.forEach(({ picture }, n) => paint(picture, found[n], app.size, 128));
    }
  }
  const redraw = () => draw().catch(complain);
  app.kept.addEventListener("change", redraw);
  app.addEventListener("screen", redraw);
  app.addEventListener("model", () => {
    for (const { element } of entries.values()) element.remove();
    entries.clear();
    redraw();
  });
  redraw();
}

// Which generator draws: said only where there is a choice.
function buildDrawnBy(app) {
  const place = document.getElementById("drawn-by");
  const show = () => {
    if (!app.tuned) return;
    const use = h("input", { type: "checkbox", checked: Boolean(app.model.tuned) });
    use.addEventListener("change", () => app.drawBy(null, use.checked));
    place.replaceChildren(h("label", { class: "check" }, use, `Draw by the generator tuned to ${app.tuned.names.join(", ")}`));
  };
  app.addEventListener("model", show);
  show();
}

async function main() {
  const model = await openModel(), app = new App(model);
  const screen = document.getElementById("main"), nav = document.getElementById("nav");
  const names = SCREENS.filter(([key]) => ({ photo: model.info.can.photo, training: model.info.can.training })[key] !== false);
  app.screens = new Map();
  let current = null;
  const links = new Map(names.map(([key, name]) => [key, h("a", { href: `#${key}` }, name)]));
  nav.append(...links.values());
  document.getElementById("opening").remove();
  for (const [key, name, build] of names) {
    const section = h("section", { class: `screen ${key}`, "aria-label": name, hidden: true });
    screen.append(section);
    app.screens.set(key, { use() {}, ...build(section, app), section });
  }
  const show = () => {
    const key = app.screens.has(location.hash.slice(1)) ? location.hash.slice(1) : "wall";
    const next = app.screens.get(key);
    if (next === current) return;
    current?.leave?.();
    for (const [other, link] of links) {
      if (other === key) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      app.screens.get(other).section.hidden = other !== key;
    }
    links.get(key).scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = `${links.get(key).textContent} – facegan studio`;
    scrollTo(0, 0);
    current = next;
    current.enter?.();
    app.dispatchEvent(new Event("screen"));
  };
  addEventListener("hashchange", show);
  addEventListener("keydown", (event) => {
    if (event.target.matches("input:not([type=range]):not([type=checkbox]), textarea, select") || event.ctrlKey || event.metaKey || event.altKey) {
      if (!(event.ctrlKey || event.metaKey)) return;
    } else if (/^[1-7]$/.test(event.key) && names[event.key - 1] && !document.querySelector("dialog[open]")) {
      location.hash = names[event.key - 1][0];
      return;
    }
    current?.key?.(event);
  });
  buildShelf(app, () => current ?? app.screens.get("wall"));
  buildDrawnBy(app);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    screen.focus();
  });
  show();
}

main().catch((error) => {
  const opening = document.getElementById("opening");
  if (opening) opening.textContent = `${error.message} ${error.hint ?? ""}`;
  else complain(error);
  console.error(error);
});

