// Morph: a film strip of faces that turn into each other.

import { operands, quoted, specOf } from "./collection.js";
import { alike, path } from "./latents.js";
import { paint } from "./pictures.js";
import { canvas, commandBox, complain, h, icon, menu, roving, save, say, slider, tile, worker } from "./ui.js";

const LARGE = 448, MOST = 24;

export function morph(section, app) {
  let faces = [], frames = [], order = [], at = 0, playing = false, clock = 0, asked = 0, plays = false;  // plays: as soon as all frames are there
  const stage = canvas("large", null, app.size, LARGE, "The morph"), box = commandBox();
  const play = h("button", { type: "button", class: "strong play", onclick: () => toggle() });
  const place = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Place in the film" });
  const steps = slider({ label: "Steps between", min: 3, max: 48, step: 1, value: 16, oninput: () => make() });
  const speed = slider({ label: "Speed", min: 4, max: 50, step: 1, value: 16, text: (x) => `${x} /s`, oninput: () => command() });
  const loop = h("input", { type: "checkbox", checked: true });
  const strip = h("div", { class: "film", role: "group", "aria-label": "Film strip" });
  const start = worker("Begin with three new faces", async () => {
    const seed = String(1 + Math.floor(Math.random() * 99999));
    const found = await app.model.latents(seed, 0, 3);
    faces = found.map((z, n) => ({ id: `${seed}:${n}`, name: `${seed}:${n}`, spec: `${seed}:${n}`, kind: "number", parents: [], z }));
    plays = true;
    await make();
  }, "strong");
  const empty = h("div", { class: "empty" }, h("p", {}, "Click faces below to put them on the film strip: two or more."), start);
  const downloads = menu("Save", (app.model.info.can.film ? [[".gif", "GIF"], [".webp", "WebP"], [".mp4", "MP4"]] : []).map(([ending, name]) => [name, () => film(ending)]).concat([["Film strip, PNG", () => film(".png")]]));
  const bench = h("div", { class: "bench" }, h("div", { class: "stage" }, stage, place),
    h("div", { class: "panel" }, strip, h("div", { class: "row" }, play, downloads), steps.element, speed.element, h("label", { class: "check" }, loop, "Loop: from the last face back to the first"), box.element));
  section.append(h("div", { class: "head" }, h("div", {}, h("h2", {}, "One face becomes another"), h("p", { class: "quiet" }, "Put faces on the strip, in the order in which they turn into each other."))), empty, bench);
  roving(strip);
  loop.addEventListener("change", () => make());
  place.addEventListener("input", () => { toggle(false); at = Number(place.value); show(); });

  function toggle(to = !playing) {
    plays = false;
    playing = to && order.length > 1;
    play.replaceChildren(icon(playing ? "pause" : "play"), playing ? "Pause" : "Play");
    if (playing) { clock = 0; requestAnimationFrame(tick); }
  }

  function tick(now) {
    if (!playing || section.hidden) return;
    if (!clock) clock = now;
    const due = Math.floor(((now - clock) * speed.value) / 1000);
    if (due > 0) {
      clock += (due * 1000) / speed.value;
      at = (at + due) % order.length;
      show();
    }
    requestAnimationFrame(tick);
  }

  function show() {
    const rgb = frames[order[at]];
    place.value = at;
    place.style.setProperty("--from", "0%");
    place.style.setProperty("--to", `${(100 * at) / Math.max(1, order.length - 1)}%`);
    if (rgb) paint(stage, rgb, app.size, LARGE);
    const now = Math.round(order[at] / (steps.value - 1)) % Math.max(1, faces.length);
    [...strip.children].forEach((element, n) => element.classList.toggle("now", n === now));
  }

  async function make() {
    asked += 1;
    const mine = asked, many = faces.length > 1;
    empty.hidden = faces.length > 0;
    bench.hidden = !faces.length;
    drawStrip().catch(complain);
    command();
    if (!faces.length) return;
    const points = alike(faces.map((one) => one.z)), walk = many ? path(points, steps.value, loop.checked) : points;
    const there = walk.map((_, n) => n);
    order = loop.checked ? there : [...there, ...there.slice(1, -1).reverse()];
    frames = [];
    place.max = order.length - 1;
    at = Math.min(at, order.length - 1);
    try {
      for (let first = 0; first < walk.length; first += app.model.atOnce) {
        const some = await app.model.faces(walk.slice(first, first + app.model.atOnce));
        if (mine !== asked) return;
        frames.push(...some);
        if (first === 0 || first > at) show();
      }
      if (plays && many) toggle(true);
    } catch (error) {
      complain(error);
    }
  }

  async function drawStrip() {
    const entries = faces.map((one, n) => {
      const entry = tile({ label: `${one.name}, face ${n + 1} of the film`, name: one.name, onclick: () => { toggle(false); at = n * (steps.value - 1) % order.length; show(); } });
      const tool = (name, label, to) => h("button", { type: "button", class: "plain", "aria-label": `${label}: ${one.name}`, title: label, onclick: to }, icon(name));
      entry.element.append(h("div", { class: "tools" }, tool("left", "Earlier", () => move(n, n - 1)), tool("x", "Take out", () => { faces = faces.filter((_, k) => k !== n); make(); }), tool("right", "Later", () => move(n, n + 1))));
      entry.element.draggable = true;
      entry.element.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/x-facegan-place", String(n)));
      entry.element.addEventListener("dragover", (event) => event.preventDefault());
      entry.element.addEventListener("drop", (event) => {
        event.preventDefault();
        event.stopPropagation();
        const from = event.dataTransfer.getData("text/x-facegan-place");
        if (from !== "") move(Number(from), n);
        else insert(event.dataTransfer.getData("text/x-facegan-face"), n);
      });
      return entry;
    });
    strip.replaceChildren(...entries.map((entry) => entry.element));
    const found = await app.rgb(faces.map((one) => one.z));
    entries.forEach(({ picture }, n) => paint(picture, found[n], app.size, 128));
  }

  function move(from, to) {
    if (to < 0 || to >= faces.length) return;
    const [one] = faces.splice(from, 1);
    faces.splice(to, 0, one);
    make();
  }

  function insert(id, n) {
    const one = app.kept.faces.find((other) => other.id === id);
    if (one) put(one, n);
  }

  function put(one, n) {
    if (faces.length >= MOST) {
      say(`A film has at most ${MOST} faces.`, { hint: "Take one out first.", wrong: true });
      return;
    }
    faces.splice(n, 0, one);
    if (faces.length === 2) plays = true;
    make();
  }
  section.addEventListener("dragover", (event) => event.preventDefault());
  section.addEventListener("drop", (event) => { event.preventDefault(); insert(event.dataTransfer.getData("text/x-facegan-face"), faces.length); });

  function command() {
    if (faces.length < 2) return box.show({ lines: [] });
    const through = faces.map((one) => `--through ${quoted(specOf(one))}`).join(" ");
    return box.show(app.command(`facegan interpolate ${app.word} ${through} --steps ${steps.value}${loop.checked ? " --loop" : ""} --gif --fps ${speed.value}`, faces,
      "It writes the GIF and the film strip."));
  }

  async function film(ending) {
    if (faces.length < 2) throw Object.assign(new Error("A film needs two faces or more."), { hint: "Click another one below." });
    const asked = { specs: faces.map(specOf), steps: steps.value, loop: loop.checked, fps: speed.value, ending };
    save(await app.model.picture(ending === ".png" ? "strip" : "film", asked, operands(faces).known), `morph${ending}`);
  }

  app.addEventListener("model", () => make());
  toggle(false);
  make();
  return {
    use(one) { put(one, faces.length); },
    hint: "Click one to add it to the film.",
    leave: () => toggle(false),
    key(event) {
      if (event.key !== " " || event.target.closest("button, input, summary, a")) return;
      event.preventDefault();
      toggle();
    },
  };
}
