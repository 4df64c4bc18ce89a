// Training: a run that goes on, its newest faces, its curves and the time left.

import { commandBox, h } from "./ui.js";

const EVERY = 3000, WIDTH = 400, HEIGHT = 100;
const STATES = { training: "Training", done: "Done", stopped: "Stopped", starting: "Starting" };

function curve(title, lines) {
  const all = Object.values(lines).flat();
  if (!all.length) return null;
  const xs = all.map((point) => point[0]), ys = all.map((point) => point[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${title}: from ${y0.toPrecision(3)} to ${y1.toPrecision(3)}`);
  for (const points of Object.values(lines)) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const at = points.map(([x, y]) => `${(((x - x0) / (x1 - x0 || 1)) * WIDTH).toFixed(1)} ${(HEIGHT - ((y - y0) / (y1 - y0 || 1)) * HEIGHT).toFixed(1)}`);
    path.setAttribute("d", `M${at.join("L")}`);
    svg.append(path);
  }
  const names = Object.keys(lines).map((name) => name.replaceAll("_", " ").replace(" loss", ""));
  const last = Object.values(lines).map((points) => points[points.length - 1][1].toPrecision(3));
  return h("div", { class: "curve" }, h("header", {}, h("strong", {}, title), h("span", { class: "quiet" }, names.length > 1 ? names.map((name, n) => `${name} ${last[n]}`).join(", ") : last[0])), svg,
    h("div", { class: "axis" }, h("span", {}, Number(x0).toLocaleString("en")), h("span", {}, `${Number(x1).toLocaleString("en")} images seen`)));
}

export function training(section, app) {
  let timer = 0, grid = "", wanted = "", address = "", open = false, asked = 0;
  const title = h("h2", {}, "Training"), state = h("p", { class: "quiet", role: "status" }), numbers = h("dl", { class: "numbers" });
  const picture = h("img", { alt: "The newest faces of the run" }), curves = h("div", { class: "panel" }), box = commandBox();
  const choice = h("select", { "aria-label": "Run" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Images seen" });
  const body = h("div", { hidden: true }, numbers, bar, h("div", { class: "run foot" }, picture, curves));
  const none = h("div", { class: "empty", hidden: true }, h("p", {}, "No run is here yet. Start one in the folder in which the studio was started, and watch it on this page:"));
  section.append(h("div", { class: "head" }, h("div", {}, title, state), choice), body, none, h("div", { class: "foot" }, box.element));
  choice.hidden = box.element.hidden = true;
  choice.addEventListener("change", () => { wanted = choice.value; look(); });

  async function look() {
    clearTimeout(timer);
    if (!open) return;
    asked += 1;
    const mine = asked; // a second look, at another run, ends this one
    try {
      const now = await app.model.training(wanted);
      if (mine !== asked) return;
      show(now);
      if (now.grid && now.grid !== grid) {
        const blob = await app.model.grid(now.run);
        if (mine !== asked) return;
        const next = URL.createObjectURL(blob);
        picture.src = next;
        URL.revokeObjectURL(address);
        address = next;
        grid = now.grid;
      }
    } catch (error) {
      if (mine !== asked) return;
      state.textContent = `${error.message} ${error.hint ?? ""}`;
    }
    timer = setTimeout(look, EVERY);
  }

  function show(now) {
    none.hidden = now.run !== null;
    body.hidden = choice.hidden = !now.run;
    if (!now.run) {
      state.textContent = "";
      title.textContent = "Training";
      box.show({ lines: ["facegan train --data demo --width 16 --critic-width 16 --images 15k"] });
      return;
    }
    title.textContent = now.run;
    state.textContent = `${STATES[now.state]}${now.left ? `: about ${now.left} left` : ""}`;
    if ([...choice.options].map((option) => option.value).join() !== now.runs.join()) choice.replaceChildren(...now.runs.map((name) => h("option", { value: name }, name)));
    choice.value = now.run;
    choice.hidden = now.runs.length < 2;
    const facts = [["Images seen", now.images_seen.toLocaleString("en")], ["In all", now.total.toLocaleString("en")], ["Epoch", Number(now.epoch ?? 0).toFixed(1)], ["Images a second", now.rate ? now.rate.toFixed(0) : "–"], ["Preset", now.preset]];
    numbers.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    bar.max = now.total;
    bar.value = now.images_seen;
    picture.hidden = !now.grid;
    curves.replaceChildren(...Object.entries(now.curves).map(([name, lines]) => curve(name, lines)).filter(Boolean));
    const line = { stopped: `facegan train --run runs/${now.run}`, done: `facegan studio runs/${now.run}` }[now.state] ?? `facegan gif runs/${now.run}`;
    box.show({ lines: [line] });
  }

  return { enter() { open = true; look(); }, leave() { open = false; clearTimeout(timer); } };
}

