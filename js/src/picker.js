// The application: one root element, its parts, the status, and the theme it stands in

import { makeChoice } from "./choice_state.js";
import { makeDetail } from "./detail.js";
import { count, h, makeLife, oncePerFrame, setText } from "./dom.js";
import { makeForm } from "./form.js";
import { makeGallery } from "./gallery.js";
import { makeNames } from "./names.js";
import { makeOutcome } from "./outcome.js";
import { makeLookup, makeTriggers } from "./triggers.js";

export function makePicker(backend, host) {
  const life = makeLife();
  const root = h("div", { class: "nbp" });
  keepKeys(life, root);
  const ctx = { backend, life, root, themes: [], asked: null };
  ctx.send = message => {
    ctx.asked = message.type;
    backend.send(message);
  };
  ctx.names = makeNames(backend, life);
  ctx.choice = makeChoice(ctx);
  const form = makeForm(ctx);
  const triggers = makeTriggers(ctx);
  const detail = makeDetail(ctx);
  const lookup = makeLookup(ctx, triggers);
  const outcome = makeOutcome(ctx);
  const gallery = makeGallery(ctx);
  root.append(
    makeHeader(ctx),
    form.element,
    h(
      "div",
      { class: "nbp-columns" },
      h("div", { class: "nbp-stack" }, triggers.element, lookup.element),
      h("div", { class: "nbp-stack" }, detail.element, outcome.element),
      h("div", { class: "nbp-stack" }, gallery.element, detail.graph.panel),
    ),
    gallery.closeUp.element,
  );
  host.append(root);
  followTheme(ctx);
  return () => {
    life.end();
    root.remove();
  };
}

// Jupyter's own keys (x cuts the cell) must not fire while somebody walks through a table; those
// with Ctrl may (save). It looks for a mark on the element that has the focus, before that element
// gets the key.
function keepKeys(life, root) {
  life.listen(
    window,
    "keydown",
    event => {
      const target = event.composedPath()[0];
      if (root.contains(target))
        target.toggleAttribute("data-lm-suppress-shortcuts", !event.ctrlKey && !event.metaKey);
    },
    true,
  );
}

function makeHeader(ctx) {
  const { backend, life } = ctx;
  const about = h("span", { class: "nbp-hint" });
  const summary = h("p", { class: "nbp-summary" });
  const badge = h("span", { class: "nbp-status", role: "status" });
  const note = h("p", { class: "nbp-hint nbp-note", role: "status" });
  const read = oncePerFrame(life, () => {
    const options = backend.get("options") || {};
    if (options.window) document.title = `${options.dataset} – Trigger picker`;
    const status = backend.get("status") || {};
    const working = status.state === "working";
    setText(
      about,
      [options.dataset, options.split, options.n_images ? count(options.n_images, "image") : ""]
        .filter(Boolean)
        .join(" · "),
    );
    setText(summary, backend.get("result")?.summary || "");
    badge.dataset.state = status.state || "ready";
    const took =
      status.seconds === null || status.seconds === undefined
        ? ""
        : ` in ${status.seconds.toFixed(status.seconds < 10 ? 1 : 0)} s`;
    const states = { working: "Working …", error: "Not possible", lost: "Not connected" };
    setText(badge, states[status.state] || `Ready${took}`);
    const here = ["ready", "lost"].includes(status.state); // errors stand where they were made
    setText(note, (here && status.message) || "");
    note.hidden = !note.textContent;
    ctx.root.setAttribute("aria-busy", working ? "true" : "false");
  });
  life.on(backend, ["options", "status", "result"], read);
  read();
  return h(
    "header",
    { class: "nbp-header" },
    h("h2", {}, "Trigger picker"),
    about,
    badge,
    summary,
    note,
  );
}

// Jupyter brings its colors as variables, whatever the system prefers: dark or light is told from
// the text color.
function followTheme(ctx) {
  const { root, life, themes } = ctx;
  const look = () => {
    const given = getComputedStyle(root).getPropertyValue("--jp-layout-color1").trim();
    const said = document.documentElement.dataset.theme; // by the page around it
    const system = matchMedia("(prefers-color-scheme: dark)").matches;
    const told = ["dark", "light"].includes(said);
    const dark = given ? isDark(given, root) : told ? said === "dark" : system;
    root.dataset.theme = dark ? "dark" : "light";
    themes.forEach(fn => fn());
  };
  life.listen(matchMedia("(prefers-color-scheme: dark)"), "change", look);
  const observer = new MutationObserver(look);
  for (const element of [document.documentElement, document.body])
    observer.observe(element, { attributes: true });
  // the colors may come after the picker, from a file that is still on its way: then the ground
  // changes, which the style sheet makes an event. A change that is taken back before it was
  // painted ends with "transitioncancel" only.
  for (const event of ["transitionend", "transitioncancel"])
    life.listen(root, event, ({ target }) => {
      if (target === root) look();
    });
  life.add(() => observer.disconnect());
  // a widget is made outside the page, where there are no colors yet; it has a size as soon as it
  // is shown
  const shown = new ResizeObserver(() => {
    if (!root.clientWidth) return;
    shown.disconnect();
    look();
  });
  shown.observe(root);
  life.add(() => shown.disconnect());
  look();
}

function isDark(color, root) {
  const probe = h("span", { style: `color:${color}` });
  root.append(probe);
  const [r, g, b] = getComputedStyle(probe)
    .color.match(/[\d.]+/g)
    .map(Number);
  probe.remove();
  return 0.299 * r + 0.587 * g + 0.114 * b < 128;
}
