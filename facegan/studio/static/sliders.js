// Sliders: a face along named attributes, live while they are dragged.

import { face, faceTitle, quoted, specOf } from "./collection.js";
import { paint } from "./pictures.js";
import { canvas, commandBox, complain, h, icon, Newest, slider, worker } from "./ui.js";

const FEW = 12, FAR = 3;

export function sliders(section, app) {
  const { attributes } = app.model.info;
  const named = attributes.known.map((attribute, at) => ({ ...attribute, at })).filter((attribute) => !attribute.refused);
  const unnamed = named.length ? [] : Array.from({ length: attributes.components }, (_, at) => ({ name: `Direction ${at + 1}`, at }));
  const kept = new Set(attributes.keep ?? []), first = (one) => (kept.has(one.name) ? 1 : 0);
  const list = [...named.sort((a, b) => first(b) - first(a) || b.explained - a.explained), ...unnamed];
  const locked = new Set(list.filter(first).map((one) => one.at)), values = new Map(), controls = [];
  let subject = null, result = null;
  const picture = canvas("large", null, app.size, 448, "The face"), box = commandBox(), name = h("span", { class: "quiet" });
  const keep = h("button", { type: "button", onclick: () => { if (result) app.keep(result); } }, icon("keep"), "Keep");
  const reset = h("button", { type: "button", onclick: () => { controls.forEach(({ control }) => control.set(0)); values.clear(); change(); } }, "Reset");
  const compare = h("button", { type: "button", title: "Hold it down to see the face before" }, "Hold to compare");
  const start = worker("Begin with a new face", async () => {
    const seed = String(1 + Math.floor(Math.random() * 99999)), [z] = await app.model.latents(seed, 0, 1);
    use(face(`${seed}:0`, z, { spec: `${seed}:0`, kind: "number" }));
  }, "strong");
  const empty = h("div", { class: "empty" }, h("p", {}, "Click a face below to change it."), start);
  const few = h("div", { class: "attributes" }), rest = h("div", { class: "attributes" });
  const more = h("details", {}, h("summary", {}, `${Math.max(0, list.length - FEW)} more attributes`), rest);
  for (const [n, one] of list.entries()) {
    const label = one.name.replaceAll("_", " ");
    const control = slider({ label, min: -FAR, max: FAR, step: 0.1, value: 0, text: (x) => (x > 0 ? "+" : x < 0 ? "−" : "") + Math.abs(x).toFixed(1), oninput: (x) => {
      if (x) values.set(one.at, x);
      else values.delete(one.at);
      change();
    } });
    control.input.addEventListener("dblclick", () => { control.set(0); values.delete(one.at); change(); });
    const lock = named.length ? h("button", { type: "button", class: "plain lock", "aria-pressed": String(locked.has(one.at)), "aria-label": `Hold ${label}`, title: "Hold it while others change", onclick: () => {
      if (locked.has(one.at)) locked.delete(one.at);
      else locked.add(one.at);
      lock.setAttribute("aria-pressed", String(locked.has(one.at)));
      lock.replaceChildren(icon(locked.has(one.at) ? "lock" : "open"));
      change();
    } }, icon(locked.has(one.at) ? "lock" : "open")) : null;
    const element = h("div", { class: "attribute" }, control.element, lock);
    controls.push({ control, element, at: one.at });
    (n < FEW ? few : rest).append(element);
  }
  const none = attributes.error && !named.length ? h("p", { class: "quiet" }, `These are the generator's strongest directions. They have no names, because it has not learnt any. ${attributes.hint}`) : null;
  const bench = h("div", { class: "bench", hidden: true }, h("div", { class: "stage" }, picture),
    h("div", { class: "panel" }, h("div", { class: "row" }, name, keep, app.downloads(() => result), reset, compare), none, few, list.length > FEW ? more : null, box.element));
  section.append(h("div", { class: "head" }, h("div", {}, h("h2", {}, "Change one thing"), h("p", { class: "quiet" }, named.length ? "Move a slider. What has a closed lock stays as it is." : "Move a slider."))), empty, bench);

  const live = new Newest(async (from, changes, held) => {
    const found = changes.length ? await app.model.edit(from.z, changes, held) : { z: from.z, rgb: (await app.model.faces([from.z]))[0] };
    paint(picture, found.rgb, app.size, 448);
    result = changes.length ? face(app.kept.fresh("edit"), found.z, { kind: "edit", parents: [from.name] }) : from;
  });
  const before = (on) => {
    if (!subject) return;
    if (on) live.ask(subject, [], []);
    else change();
  };
  for (const [type, on] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false], ["pointercancel", false], ["blur", false]]) compare.addEventListener(type, () => before(on));
  compare.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") before(true); });
  compare.addEventListener("keyup", () => before(false));

  function change() {
    if (!subject) return;
    for (const { element, at } of controls) element.classList.toggle("moved", values.has(at));
    const number = (x) => `${x > 0 ? "+" : ""}${Number(x.toFixed(1))}`;
    const changes = [...values].map(([at, x]) => [named.length ? attributes.known[at].name : at + 1, number(x)]);
    const held = [...locked].filter((at) => !values.has(at)).map((at) => attributes.known[at].name);
    live.ask(subject, changes, held);
    if (!changes.length) { box.show(app.faceCommand(subject)); return; }
    const parts = changes.map(([name, x]) => `${named.length ? "--attr" : "--component"} ${quoted(`${name}=${x}`)}`).join(" ");
    const keep = named.length ? ` --keep ${quoted(held.join(",") || "none")}` : "";
    box.show(app.command(`facegan edit ${app.word} --face ${quoted(specOf(subject))} ${parts}${keep} --save`, [subject]));
  }

  function use(one) {
    subject = one;
    empty.hidden = true;
    bench.hidden = false;
    name.textContent = faceTitle(one);
    change();
  }

  app.addEventListener("model", () => change());
  return { use, hint: "Click one to change it." };
}
