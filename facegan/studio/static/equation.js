// Equation: faces and words are added and subtracted.

import { face, operands, quoted, specOf } from "./collection.js";
import { mean, normalise, signedSum } from "./latents.js";
import { paint } from "./pictures.js";
import { canvas, commandBox, complain, h, icon, save, say, tile, worker } from "./ui.js";

const EXAMPLE = [[1, "46,64,93"], [-1, "22,26,57"], [1, "61"]]; // smiling women, women who do not smile, a man

export function equation(section, app) {
  let terms = [], result = null, asked = 0; // a term: { sign, name, spec, z (the plain mean), faces }
  const zones = new Map([1, -1].map((sign) => [sign, h("div", { class: "terms", role: "group", "aria-label": sign > 0 ? "Plus" : "Minus" })]));
  const picture = canvas("large", null, app.size, 448, "The result"), box = commandBox();
  const keep = h("button", { type: "button", onclick: () => { if (result) app.keep(result); } }, icon("keep"), "Keep");
  const whole = worker("Equation as PNG", async () => {
    const { known } = operands(terms.flatMap((term) => term.faces));
    const asked = { specs: terms.map((term) => term.spec), signs: terms.map((term) => term.sign), ending: ".png" };
    save(await app.model.picture("equation", asked, known), "equation.png");
  });
  const words = h("input", { type: "text", placeholder: "smiling woman", "aria-label": "Words", maxlength: 120, autocomplete: "off" });
  const add = async (sign) => {
    const spec = words.value.trim();
    if (!spec) return words.focus();
    if (/[,]/.test(spec)) return say("Write one description at a time, without commas.", { wrong: true });
    put({ sign, ...(await named(spec)) });
    words.value = "";
  };
  const named = async (spec) => { // each generator has its own faces for words
    const faces = (await app.model.words(spec)).map(([name, z]) => face(name, z, { spec: name, kind: "number" }));
    return { name: spec, spec, z: mean(faces.map((one) => one.z)), faces, words: true };
  };
  const typed = app.model.info.can.words ? h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); add(1).catch(complain); } },
    h("label", { class: "row" }, "Words ", words), worker("Plus", () => add(1)), worker("Minus", () => add(-1))) : null;
  const example = app.model.info.word === "pretrained" ? worker("Try an example", async () => {
    const found = await Promise.all(EXAMPLE.map(([, spec]) => Promise.all(spec.split(",").map((index) => app.model.latents("0", Number(index), 1)))));
    terms = EXAMPLE.map(([sign, spec], n) => {
      const faces = found[n].map(([z], k) => face(spec.split(",")[k], z, { spec: spec.split(",")[k], kind: "number" }));
      return { sign, name: spec, spec, z: faces.length > 1 ? mean(faces.map((one) => one.z)) : faces[0].z, faces };
    });
    await draw();
  }) : null;
  const tools = h("div", { class: "row" }, keep, app.downloads(() => result), whole);
  const clear = h("button", { type: "button", onclick: () => { terms = []; draw().catch(complain); } }, "Clear");
  section.append(
    h("div", { class: "head" }, h("div", {}, h("h2", {}, "Smile − no smile + you"), h("p", { class: "quiet" }, "Add faces and subtract others. Click a face below to add it, or drag it; the sign of each can be turned.")), h("div", { class: "row" }, example, clear)),
    h("div", { class: "bench" }, h("div", { class: "stage" }, picture, tools),
      h("div", { class: "panel" }, zones.get(1), zones.get(-1), typed, box.element)));
  for (const [sign, zone] of zones) {
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      const place = event.dataTransfer.getData("text/x-facegan-term");
      if (place !== "") { terms[place].sign = sign; draw().catch(complain); return; }
      const one = app.kept.faces.find((other) => other.id === event.dataTransfer.getData("text/x-facegan-face"));
      if (one) use(one, sign);
    });
  }

  function put(term) {
    terms.push(term);
    draw().catch(complain);
  }

  function use(one, sign = 1) {
    put({ sign, name: one.name, spec: specOf(one), z: one.z, faces: [one] });
  }

  async function draw() {
    asked += 1;
    const mine = asked, entries = terms.map((term, n) => {
      const turn = () => { term.sign = -term.sign; draw().catch(complain); };
      const entry = tile({ label: `${term.name}: turn its sign`, name: term.name, title: "Turn its sign", onclick: turn });
      entry.element.title = term.name;
      entry.element.append(h("div", { class: "tools" },
        h("button", { type: "button", class: "plain", "aria-label": `${term.sign > 0 ? "Subtract" : "Add"} ${term.name}`, onclick: turn }, term.sign > 0 ? "−" : "+"),
        h("button", { type: "button", class: "plain", "aria-label": `Take out ${term.name}`, onclick: () => { terms = terms.filter((other) => other !== term); draw().catch(complain); } }, icon("x"))));
      entry.element.draggable = true;
      entry.element.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/x-facegan-term", String(n)));
      return { ...entry, term };
    });
    for (const [sign, zone] of zones) {
      const own = entries.filter(({ term }) => term.sign === sign);
      zone.replaceChildren(h("h3", {}, sign > 0 ? "Plus" : "Minus"), ...own.map((entry) => entry.element), own.length ? "" : h("p", { class: "quiet" }, sign > 0 ? "Faces to add." : "Faces to take away."));
    }
    tools.hidden = clear.hidden = !terms.length;
    example?.classList.toggle("strong", !terms.length);
    if (!terms.length) {
      result = null;
      box.show({ lines: [] });
      picture.width = picture.height = 1;
      return;
    }
    const z = signedSum(terms.map((term) => term.sign), terms.map((term) => term.z));
    result = face(app.kept.fresh("sum"), z, { kind: "sum", parents: terms.map((term) => `${term.sign < 0 ? "minus " : ""}${term.name}`) });
    const line = terms.map((term) => `${term.sign > 0 ? "--plus" : "--minus"} ${quoted(term.spec)}`).join(" ");
    box.show(app.command(`facegan arithmetic ${app.word} ${line} --save`, terms.flatMap((term) => term.faces)));
    const drawn = terms.map((term) => (term.faces.length === 1 ? term.z : normalise(term.z)));
    const found = await app.rgb([...drawn, z]);
    if (mine !== asked) return;
    entries.forEach((entry, n) => paint(entry.picture, found[n], app.size, 128));
    paint(picture, found[terms.length], app.size, 448);
  }

  app.addEventListener("model", async () => {
    try {
      for (const term of terms.filter((one) => one.words)) Object.assign(term, await named(term.spec));
      await draw();
    } catch (error) {
      complain(error);
    }
  });
  draw();
  return { use, hint: "Click one to add it, or drag it." };
}

