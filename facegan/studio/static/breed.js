// Breed: faces have children, and these have children, with a family tree and undo.

import { face } from "./collection.js";
import { child } from "./latents.js";
import { paint } from "./pictures.js";
import { commandBox, complain, h, icon, roving, say, slider, tile, worker } from "./ui.js";

const CHILDREN = 12, STEP = 74, HEIGHT = 96;

export function breed(section, app) {
  const { rows, latent_dim: dim } = app.model.info;
  let state = { parents: [], children: [], chosen: [], older: [] }, past = [], future = [], names = 0, asked = 0;
  const parents = h("div", { class: "parents", role: "group", "aria-label": "Parents" });
  const grid = h("div", { class: "children", role: "group", "aria-label": "Children" });
  const tree = h("div", { class: "tree" }), family = h("div", { class: "family" }, h("h3", {}, "Family tree"), tree);
  const box = commandBox(), parentsHead = h("h3", {}, "Parents"), childrenHead = h("h3", {}, "Children: choose the ones that you like");
  const wild = slider({ label: "Wildness", min: 0, max: 1, step: 0.05, value: 0.3, text: (x) => `${Math.round(100 * x)} %` });
  const again = h("button", { type: "button", class: "strong", onclick: () => have(state) }, "New children");
  const next = h("button", { type: "button", onclick: () => grandchildren() }, "Breed them");
  const undo = h("button", { type: "button", title: "Undo (Ctrl-Z)", "aria-label": "Undo", onclick: () => back() }, icon("undo"));
  const redo = h("button", { type: "button", title: "Redo (Ctrl-Shift-Z)", "aria-label": "Redo", onclick: () => forth() }, icon("redo"));
  const keep = h("button", { type: "button", onclick: () => { app.kept.add(...state.chosen); say(state.chosen.length > 1 ? `${state.chosen.length} children are kept.` : `${state.chosen[0].name} is kept.`); } }, icon("keep"), "Keep them");
  const start = worker("Begin with two new faces", async () => {
    const seed = String(1 + Math.floor(Math.random() * 99999));
    const found = await app.model.latents(seed, 0, 2);
    have({ parents: found.map((z, n) => face(`${seed}:${n}`, z, { spec: `${seed}:${n}`, kind: "number" })), older: [] });
  }, "strong");
  const empty = h("div", { class: "empty" }, h("p", {}, "Click faces below to make them parents. One is enough; two or more mix."), start);
  const controls = h("div", { class: "row foot" }, h("div", { class: "wild" }, wild.element), again);
  const chosen = h("div", { class: "row chosen" }, next, keep);
  section.append(
    h("div", { class: "head" }, h("div", {}, h("h2", {}, "Faces have children"), h("p", { class: "quiet" }, "Shapes come from one parent, colours perhaps from the other. Choose the children that you like, and breed those.")), h("div", { class: "row" }, undo, redo)),
    empty, parentsHead, parents, controls,
    h("div", { class: "foot" }, childrenHead, grid, chosen), h("div", { class: "foot" }, box.element), family);
  roving(grid);

  function change(to) {
    past.push(state);
    future = [];
    state = to;
    draw().catch(complain);
  }
  function back() {
    if (!past.length) return;
    future.push(state);
    state = past.pop();
    draw().catch(complain);
  }
  function forth() {
    if (!future.length) return;
    past.push(state);
    state = future.pop();
    draw().catch(complain);
  }

  // At once, not when they are drawn: the next click builds on these parents.
  function have(from) {
    const born = Array.from({ length: CHILDREN }, () => {
      names += 1;
      const z = child(from.parents.map((one) => one.z), wild.value, rows, dim);
      const taken = Number(app.kept.fresh("child").slice(6));
      names = Math.max(names, taken);
      return face(`child-${names}`, z, { kind: "child", parents: from.parents.map((one) => one.name) });
    });
    change({ ...from, children: born, chosen: [] });
  }

  // The chosen children become the parents. They stay in the tree, so they are kept by name.
  function grandchildren() {
    have({ parents: state.chosen, older: [...state.older, state.parents] });
  }

  function use(one) {
    const has = state.parents.some((other) => other.id === one.id);
    const parents = has ? state.parents.filter((other) => other.id !== one.id) : [...state.parents, one].slice(-6);
    if (parents.length) have({ parents, older: state.older });
    else change({ parents: [], children: [], chosen: [], older: [] });
  }

  function choose(one) {
    state.chosen = state.chosen.includes(one) ? state.chosen.filter((other) => other !== one) : [...state.chosen, one];
    buttons();
  }

  function buttons() {
    undo.disabled = !past.length;
    redo.disabled = !future.length;
    chosen.hidden = !state.chosen.length;
    [...grid.querySelectorAll("button.face")].forEach((button, n) => button.setAttribute("aria-pressed", String(state.chosen.includes(state.children[n]))));
    const last = state.chosen[state.chosen.length - 1];
    if (last) box.show(app.faceCommand(last));
    else box.show({ lines: [] });
  }

  async function draw() {
    asked += 1;
    const mine = asked;
    empty.hidden = state.parents.length > 0;
    const above = state.parents.map((one) => {
      const entry = tile({ label: `${one.name}, a parent: click to take it out`, name: one.name, mark: "x", title: "Click to take it out", onclick: () => use(one) });
      return { ...entry, one };
    });
    parents.replaceChildren(...above.map((entry) => entry.element));
    parents.hidden = parentsHead.hidden = controls.hidden = childrenHead.hidden = !above.length;
    const below = state.children.map((one) => ({ ...tile({ label: `${one.name}: choose it`, pressed: false, mark: "check", title: "Click to choose it, double-click to see it large", onclick: () => choose(one) }), one }));
    below.forEach(({ button, one }) => button.addEventListener("dblclick", () => app.show(one)));
    grid.replaceChildren(...below.map((entry) => entry.element));
    buttons();
    drawTree().catch(complain);
    const all = [...above, ...below];
    const found = await app.rgb(all.map(({ one }) => one.z));
    if (mine === asked) all.forEach(({ picture }, n) => paint(picture, found[n], app.size, 128));
  }

  async function drawTree() {
    const generations = [...state.older, ...(state.parents.length ? [state.parents] : [])];
    family.hidden = generations.length < 2;
    if (family.hidden) return;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), places = [];
    const width = STEP * Math.max(...generations.map((each) => each.length));
    svg.setAttribute("width", width);
    svg.setAttribute("height", HEIGHT * generations.length);
    const parts = generations.map((each, level) => h("div", { class: "generation" }, each.map((one, n) => {
      const entry = tile({ label: `${one.name}, generation ${level + 1}`, title: one.name, onclick: () => app.show(one) });
      entry.button.style.left = `${n * STEP + (width - STEP * each.length) / 2}px`;
      places.push({ ...entry, one, level, x: n * STEP + (width - STEP * each.length) / 2 + 30 });
      return entry.button;
    })));
    for (const { one, level, x } of places) {
      for (const parent of places.filter((other) => other.level === level - 1 && one.parents.includes(other.one.name))) {
        const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
        const ends = { x1: parent.x, y1: HEIGHT * (level - 1) + 60, x2: x, y2: HEIGHT * level };
        for (const [name, value] of Object.entries(ends)) line.setAttribute(name, value);
        svg.append(line);
      }
    }
    tree.style.width = `${width}px`;
    for (const part of parts) part.style.height = `${HEIGHT}px`;
    tree.replaceChildren(svg, ...parts);
    const found = await app.rgb(places.map(({ one }) => one.z));
    places.forEach(({ picture }, n) => paint(picture, found[n], app.size, 128));
  }

  app.addEventListener("model", () => draw().catch(complain));
  buttons();
  draw();
  return {
    use,
    hint: "Click one to make it a parent.",
    key(event) {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
      event.preventDefault();
      if (event.shiftKey) forth();
      else back();
    },
  };
}

