// Building blocks of the page: elements, icons, faces, commands, downloads, messages.

import { npy } from "./latents.js";
import { paint } from "./pictures.js";

// An element: h("button", { class: "plain", onclick }, "text", child). Properties that begin with "on" are listeners;
// false, null and undefined are left out.
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value == null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

const SHAPES = {
  keep: "M6 3h12v18l-6-4.5L6 21z",
  x: "M5 5l14 14M19 5L5 19",
  play: "M7 4l13 8-13 8z",
  pause: "M7 4v16M17 4v16",
  copy: "M8 8h12v13H8zM16 8V3H4v13h4",
  down: "M12 3v13M6 11l6 6 6-6M4 21h16",
  undo: "M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-4",
  redo: "M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h4",
  left: "M15 4l-8 8 8 8",
  right: "M9 4l8 8-8 8",
  lock: "M6 11h12v10H6zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11",
  open: "M6 11h12v10H6zM8.5 11V7a3.5 3.5 0 0 1 6.6-1.6",
  check: "M4 13l5 5L20 6",
  file: "M6 3h8l4 4v14H6zM14 3v5h4",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

// A canvas with a face, or an empty place of the same size until there is one.
export function canvas(className, rgb, size, pixels, label) {
  const element = h("canvas", { class: `picture ${className}`, width: 1, height: 1, role: "img", "aria-label": label });
  if (rgb) paint(element, rgb, size, pixels);
  return element;
}

// A face to click, with its name below. `mark` is an icon that shows what a click does, or did.
export function tile({ label, name, pressed, onclick, title, mark }) {
  const picture = h("canvas", { class: "picture", width: 1, height: 1 });
  const button = h("button", { type: "button", class: "face", "aria-pressed": pressed == null ? null : String(pressed),
    "aria-label": label, title, onclick },
    picture, mark ? h("span", { class: "mark" }, icon(mark)) : null);
  const element = h("div", { class: "tile" }, button, name ? h("span", { class: "name" }, name) : null);
  return { element, button, picture };
}

// Let arrow keys move between the buttons of a grid; Tab enters it once and leaves it.
export function roving(grid, selector = "button.face") {
  const buttons = () => [...grid.querySelectorAll(selector)];
  const settle = (current) => {
    for (const button of buttons()) button.tabIndex = button === current ? 0 : -1;
  };
  grid.addEventListener("focusin", (event) => {
    if (event.target.matches(selector)) settle(event.target);
  });
  grid.addEventListener("keydown", (event) => {
    const all = buttons(), at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const top = all[at].getBoundingClientRect();
    const below = (down) => {
      const beyond = all.filter((b) => {
        const y = b.getBoundingClientRect().top;
        return down ? y > top.top + 4 : y < top.top - 4;
      });
      const line = beyond.length ? (down ? beyond[0] : beyond[beyond.length - 1]).getBoundingClientRect().top : 0;
      return beyond.filter((b) => Math.abs(b.getBoundingClientRect().top - line) < 4)
        .sort((a, b) => Math.abs(a.getBoundingClientRect().left - top.left) - Math.abs(b.getBoundingClientRect().left - top.left))[0];
    };
    const to = { ArrowRight: () => all[at + 1], ArrowLeft: () => all[at - 1], ArrowDown: () => below(true), ArrowUp: () => below(false),
      Home: () => all[0], End: () => all[all.length - 1] }[event.key]?.();
    if (!to) return;
    event.preventDefault();
    to.focus();
    to.scrollIntoView({ block: "nearest" });
  });
  new MutationObserver(() => {
    const all = buttons();
    if (all.length && !all.some((b) => b.tabIndex === 0)) all[0].tabIndex = 0;
    else if (all.filter((b) => b.tabIndex === 0).length > 1) settle(all.find((b) => b === document.activeElement) ?? all[0]);
  }).observe(grid, { childList: true, subtree: true });
}

let quiet;

// Say something at the foot of the page, for a while. Errors stay longer and have a hint.
export function say(sentence, { hint = "", wrong = false, action = null } = {}) {
  const place = document.getElementById("said");
  clearTimeout(quiet);
  const close = h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => place.replaceChildren() }, icon("x"));
  place.replaceChildren(h("div", { class: wrong ? "message wrong" : "message" },
    h("span", {}, sentence, hint ? h("span", { class: "hint" }, ` ${hint}`) : ""), action, close));
  quiet = setTimeout(() => place.replaceChildren(), wrong ? 12000 : 5000);
}

export function complain(error) {
  if (error.name === "AbortError") return;
  if (!("hint" in error)) console.error(error);
  say(error.message, { hint: error.hint ?? "", wrong: true });
}

// Only the newest of many requests is worked on: those between are dropped.
export class Newest {
  constructor(work) {
    this.work = work;
    this.next = null;
    this.running = false;
  }

  async ask(...given) {
    this.next = given;
    if (this.running) return;
    this.running = true;
    while (this.next) {
      const now = this.next;
      this.next = null;
      try {
        await this.work(...now);
      } catch (error) {
        complain(error);
      }
    }
    this.running = false;
  }
}

export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// A button that does slow work: it cannot be pressed twice, and says what went wrong.
export function worker(text, work, className = "") {
  const button = h("button", { type: "button", class: className }, text);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      complain(error);
    }
    button.removeAttribute("aria-busy");
  });
  return button;
}

// The command that makes a result, ready to copy, and the files that it needs. `command` is { lines, files }.
export function commandBox() {
  const code = h("code", { tabindex: 0, "aria-label": "The command that makes this" }), needs = h("div", { class: "needs" });
  const copy = h("button", { type: "button", class: "plain copy", title: "Copy the command", "aria-label": "Copy the command",
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        say("Copied.");
      } catch {
        getSelection().selectAllChildren(code);
        say("Press Ctrl-C to copy the marked command.");
      }
    } }, icon("copy"));
  const element = h("div", { class: "command" }, h("pre", {}, code), copy, needs);
  return {
    element,
    show({ lines, files = [], note = "" }) {
      const words = lines.map((line) => line.split(" ").map((word, n) => [n ? " " : "", h("span", {}, word)]));
      code.replaceChildren(...words.flatMap((line, n) => [n ? "\n" : "", ...line.flat()]));
      const buttons = files.map(([name, z]) => h("button", { type: "button", class: "file", onclick: () => save(npy(z), name),
        title: "Download this file, and type the command where you saved it" }, icon("down"), name));
      needs.replaceChildren(...(files.length ? [h("span", {}, files.length > 1 ? "It needs the files" : "It needs the file"), ...buttons] : []),
        ...(note ? [h("span", {}, note)] : []));
      element.hidden = !lines.length;
    },
  };
}

// A labelled slider. `text` turns its value into words.
export function slider({ label, min, max, step, value, text = String, oninput }) {
  const output = h("output", {}, text(value));
  const input = h("input", { class: min < 0 ? "both" : null, type: "range", "aria-label": label, min, max, step, value, "aria-valuetext": text(value) });
  const set = (to) => {
    input.value = to;
    const shown = text(Number(input.value));
    output.textContent = shown;
    input.setAttribute("aria-valuetext", shown);
    const at = ((input.value - min) / (max - min)) * 100, zero = min < 0 ? 50 : 0; // a slider with a middle is filled from there
    input.style.setProperty("--from", `${Math.min(at, zero)}%`);
    input.style.setProperty("--to", `${Math.max(at, zero)}%`);
  };
  input.addEventListener("input", () => {
    set(input.value);
    oninput?.(Number(input.value));
  });
  set(value);
  return { element: h("label", { class: "slider" }, h("span", {}, label), input, output), input, set, get value() { return Number(input.value); } };
}

// A menu that opens below a button: entries are [text, function].
export function menu(text, entries, shape = "down") {
  const list = h("div", { class: "entries" });
  const element = h("details", { class: "menu" }, h("summary", {}, icon(shape), text), list);
  for (const [name, work] of entries) {
    const button = worker(name, work, "plain");
    button.addEventListener("click", () => { element.open = false; });
    list.append(button);
  }
  element.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !element.contains(event.relatedTarget)) element.open = false;
  });
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && element.open) {
      element.open = false;
      element.firstChild.focus();
      event.stopPropagation();
    }
  });
  document.addEventListener("pointerdown", (event) => {
    if (!element.contains(event.target)) element.open = false;
  });
  return element;
}
