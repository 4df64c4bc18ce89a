// The wall: endless new faces. A click keeps one.

import { face, faceName } from "./collection.js";
import { paint } from "./pictures.js";
import { commandBox, complain, h, roving, tile } from "./ui.js";

const FIRST = 60, MORE = 48;

export function wall(section, app) {
  const seed = h("input", { type: "text", inputmode: "numeric", pattern: "[0-9]*", maxlength: 18, value: "0", size: 8, "aria-label": "Seed", autocomplete: "off" });
  const grid = h("div", { class: "faces", role: "group", "aria-label": "New faces" }), end = h("div", { class: "end", "aria-hidden": "true" });
  const box = commandBox(), shown = new Map();
  let count = 0, loading = false, wanted = "0", generation = 0;
  section.append(
    h("div", { class: "head" }, h("div", {}, h("h2", {}, "Faces that nobody has"), h("p", { class: "quiet" }, "None of these people exist. Scroll for more, click to keep.")),
      h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); go(seed.value); } },
        h("label", {}, "Seed ", seed), h("button", { type: "submit" }, "Show"),
        h("button", { type: "button", class: "strong", onclick: () => go(String(1 + Math.floor(Math.random() * 99999))) }, "A new wall"))),
    grid, end, h("div", { class: "foot" }, box.element));
  roving(grid);

  function go(text) {
    const clean = text.trim().replace(/^0+(?=\d)/, "");
    if (!/^\d{1,18}$/.test(clean)) {
      complain(Object.assign(new Error("A seed is a whole number."), { hint: "Such as 7." }));
      return;
    }
    wanted = seed.value = clean;
    generation += 1;
    count = 0;
    loading = false;
    shown.clear();
    grid.replaceChildren();
    scrollTo(0, 0);
    more(FIRST);
  }

  async function more(number) {
    if (loading) return;
    loading = true;
    const mine = generation, from = wanted, first = count;
    let entries = [], failed = false;
    try {
      entries = Array.from({ length: number }, (_, n) => {
        const name = faceName(from, first + n);
        const entry = tile({ label: `Face ${name}`, name, pressed: false, mark: "keep", title: "Click to keep it, double-click to see it large", onclick: () => entry.one && app.toggle(entry.one) });
        entry.button.addEventListener("dblclick", () => app.show(entry.one));
        return Object.assign(entry, { spec: name });
      });
      grid.append(...entries.map((entry) => entry.element));
      count += number;
      const latents = await app.model.latents(from, first, number);
      const step = app.model.atOnce; // the first rows come first; while some are painted, the next are drawn
      let next = app.rgb(latents.slice(0, step));
      for (let start = 0; start < number; start += step) {
        const some = entries.slice(start, start + step), pictures = await next;
        if (mine !== generation) return;
        if (start + step < number) next = app.rgb(latents.slice(start + step, start + 2 * step));
        some.forEach((entry, n) => {
          entry.one = face(entry.spec, latents[start + n], { spec: entry.spec, kind: "number" });
          paint(entry.picture, pictures[n], app.size, 128);
          shown.set(entry.spec, entry);
        });
        mark();
      }
      box.show(app.command(`facegan sample ${app.word} --seed ${from} --count ${count} --number`));
    } catch (error) {
      complain(error);
      failed = true;
    } finally {
      if (mine === generation) {
        loading = false;
        const drawn = entries.filter((entry) => entry.one).length;
        for (const entry of entries.slice(drawn)) entry.element.remove();
        count = first + drawn;
        if (!failed && !section.hidden && end.getBoundingClientRect().top < innerHeight + 600) setTimeout(() => more(MORE), 0);
      }
    }
  }

  function mark() {
    const kept = new Set(app.kept.faces.map((one) => one.spec));
    for (const [spec, entry] of shown) entry.button.setAttribute("aria-pressed", String(kept.has(spec)));
  }

  app.kept.addEventListener("change", mark);
  app.addEventListener("model", () => go(wanted));
  new IntersectionObserver((entries) => {
    if (entries[0].isIntersecting && count) more(MORE);
  }, { rootMargin: "800px" }).observe(end);
  return { enter: () => { if (!count) go(wanted); } };
}
