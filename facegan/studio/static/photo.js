// Your photo: it is aligned, its face is looked for in the generator, and the generator is tuned to it.

import { face } from "./collection.js";
import { paint } from "./pictures.js";
import { canvas, commandBox, complain, h, say, worker } from "./ui.js";

export function photo(section, app) {
  let photos = app.tuned?.photos ?? [], job = null, busy = false; // photos: { photo, name, face, crop } that the generator is tuned to together
  const choose = h("input", { type: "file", accept: "image/*,.heic,.heif", multiple: true, hidden: true });
  const drop = h("div", { class: "drop" }, h("p", {}, "Drop a photo with one clear face here"),
    h("button", { type: "button", class: "strong", onclick: () => choose.click() }, "Choose a photo"), choose,
    h("p", { class: "quiet" }, "It stays on this machine, and is not stored. The search takes about half a minute."));
  const aligned = canvas("", null, app.size, 0, "The aligned photo"), plain = canvas("", null, app.size, 0, "The nearest face of the generator");
  const drawn = canvas("", null, app.size, 0, "The face by the tuned generator");
  const figure = (picture, text) => h("figure", {}, picture, h("figcaption", {}, text));
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress" }), words = h("p", { role: "status" });
  const stop = worker("Stop", async () => { if (job) await app.model.stop(job); });
  const square = worker("Take the middle of the photo", () => all(refused, "square"));
  const box = commandBox();
  const work = h("div", { hidden: true }, h("div", { class: "steps" }, figure(aligned, "The photo, aligned"), figure(plain, "The generator by itself"), figure(drawn, "Tuned to the photo")), bar,
    h("div", { class: "row" }, words, stop), h("div", { class: "foot" }, box.element));
  box.element.hidden = true;
  const wrong = h("div", { class: "empty", hidden: true }, h("p", {}), square);
  let refused = [];
  section.append(h("div", { class: "head" }, h("div", {}, h("h2", {}, "Your own face"), h("p", { class: "quiet" }, "facegan finds the face, looks for it in the generator, and tunes the generator until it draws it. Then it is a face like any other. Further photos join the first."))), wrong, work, drop);
  choose.addEventListener("change", () => { all([...choose.files]); choose.value = ""; });
  section.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  section.addEventListener("dragleave", () => drop.classList.remove("over"));
  section.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    all([...event.dataTransfer.files]);
  });

  // Photos that come together are searched together. Those without a face can be cut square instead.
  async function all(files, crop = "face") {
    if (!files.length) return;
    if (busy) { say("One photo after another: wait until this one is done, or stop it.", { wrong: true }); return; }
    busy = true;
    drop.setAttribute("aria-busy", "true");
    const added = [], problems = [];
    refused = [];
    for (const file of files) {
      try {
        added.push({ ...(await app.model.addPhoto(file, crop)), crop });
      } catch (error) {
        if (crop === "face" && /face/.test(error.message)) refused.push(file);
        problems.push(`${error.message}${crop === "face" ? "" : ` ${error.hint ?? ""}`}`);
      }
    }
    const show = () => {
      wrong.firstChild.textContent = problems.join(" ");
      square.hidden = !refused.length;
      wrong.hidden = !problems.length;
    };
    show();
    try {
      if (added.length) await search([...photos, ...added]);
    } catch (error) {
      problems.push(`${error.message} ${error.hint ?? ""}`);
      show();
    }
    drop.removeAttribute("aria-busy");
    busy = false;
  }

  async function search(wanted) {
    const last = wanted[wanted.length - 1], at = wanted.length - 1;
    work.hidden = false;
    box.show({ lines: [] });
    paint(aligned, last.face, app.size, 256);
    for (const element of [plain, drawn]) element.width = element.height = 1;
    try {
      job = await app.model.project(wanted.map((one) => one.photo), false);
    } catch (error) { // photos of before a restart are gone; the new one is not
      if (!photos.length || !/does not have/.test(error.message)) throw error;
      const fresh = wanted.slice(photos.length);
      photos = [];
      say("The studio does not have the earlier photos any more: the generator is tuned to the new ones alone.");
      return search(fresh);
    }
    stop.hidden = false;
    let looks = 0, began = 0;
    for (;;) {
      const now = await app.model.projection(job, looks);
      looks = now.looks;
      if (now.look) paint(plain, now.look[at], app.size, 256);
      bar.max = now.total || 1;
      bar.value = now.done;
      if (now.state === "waiting") words.textContent = now.before ? `${now.before} before this one.` : "It begins in a moment.";
      if (now.state === "working") {
        began ||= performance.now() - 400;
        const share = now.done / now.total, left = share > 0.05 ? ((performance.now() - began) / 1000) * (1 / share - 1) : NaN;
        words.textContent = `${share < 0.55 ? "Looking for the face" : "Tuning the generator"}${Number.isFinite(left) ? `: about ${Math.max(1, Math.round(left))} s` : " …"}`;
      }
      if (now.state === "done") { finish(wanted, now); break; }
      if (now.state === "failed" || now.state === "stopped") {
        words.textContent = now.state === "stopped" ? "Stopped." : "";
        if (now.error) complain(Object.assign(new Error(now.error), { hint: now.hint }));
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 350));
    }
    stop.hidden = true;
    job = null;
  }

  function finish(wanted, now) {
    const at = now.names.length - 1, last = wanted[at], fresh = now.names.slice(photos.length);
    photos = wanted;
    paint(plain, now.plain[at], app.size, 256);
    paint(drawn, now.drawn[at], app.size, 256);
    bar.value = bar.max;
    words.textContent = now.words[at].replace(/^[^:]*: (.)/, (_, first) => first.toUpperCase()).replace(/$/, ".");
    drop.classList.add("small");
    drop.firstChild.textContent = "Drop another photo here: the generator is then tuned to all of them";
    const specs = new Set(now.files);
    app.kept.faces = app.kept.faces.filter((one) => one.kind !== "photo" || !specs.has(one.spec));
    app.drawBy({ model: now.model, names: now.names, files: now.files, crop: wanted.every((one) => one.crop === last.crop) ? last.crop : "mixed", photos: wanted.map(({ photo, name, crop }) => ({ photo, name, crop })) });
    app.kept.add(...now.latents.map((z, n) => face(now.names[n], z, { spec: now.files[n], kind: "photo" })));
    box.show({ lines: app.before, note: app.tuned.crop === "mixed" ? "One command cannot cut some photos square and others by their faces, so its faces will differ." : "" });
    say(`${fresh.join(", ")} ${fresh.length > 1 ? "are" : "is"} among the kept faces now.`);
  }

  return { key() {} };
}

