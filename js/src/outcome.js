// What would happen with this choice: target, counts before training, warnings; and the choice as
// text, to copy or save

import { copyButton, debounced, h, oncePerFrame, percent, setText, uid, whole } from "./dom.js";
import { nameCell } from "./names.js";

const REST = 300; // milliseconds without a key before a number is sent
const OUTPUTS = [
  ["line", "Line"],
  ["python", "Python"],
  ["command", "Command"],
  ["json", "JSON"],
];

export function makeOutcome(ctx) {
  const { backend, life, choice } = ctx;
  const o = { ctx };
  o.target = h("select", { id: uid("target") });
  o.target.onchange = () =>
    choice.choose(choice.get().classes, o.target.value === "" ? null : Number(o.target.value));
  o.sizes = makeSizes(ctx, o);
  o.figures = h("dl", { class: "nbp-figures" });
  o.warnings = h("ul", {
    class: "nbp-warnings",
    "aria-label": "Warnings",
    "aria-live": "polite",
    tabindex: "0",
  });
  o.counts = h("tbody");
  // a page without a kernel knows overlaps alone
  const note =
    "Images with two of the classes, which a split leaves out, are in these numbers: this page " +
    "does not know which they are.";
  o.note = h("p", { class: "nbp-hint" }, note);
  o.hint = h(
    "p",
    { class: "nbp-empty" },
    "Pick a trigger to see what would happen, before anything is trained.",
  );
  o.tableBox = h(
    "div",
    {
      class: "nbp-scroll nbp-low",
      tabindex: "0",
      role: "region",
      "aria-label": "Images of each class",
    },
    h(
      "table",
      { class: "nbp-grid" },
      h(
        "colgroup",
        {},
        h("col"),
        h("col", { style: "width:72px" }),
        h("col", { style: "width:72px" }),
      ),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Class"),
          h("th", { scope: "col", class: "nbp-num" }, "Clean"),
          h("th", { scope: "col", class: "nbp-num" }, "Poison"),
        ),
      ),
      o.counts,
    ),
  );
  const target = h(
    "div",
    { class: "nbp-field nbp-target" },
    h("label", { for: o.target.id }, "Target"),
    o.target,
    h("span", { class: "nbp-hint" }, "what images with the trigger are to be taken for"),
  );
  o.verdict = h("p", { class: "nbp-verdict", role: "status" });
  const settings = h("div", { class: "nbp-sizes" }, target, o.sizes);
  o.left = h("div", {}, settings, o.verdict, o.figures, o.warnings, o.note, o.tableBox);
  o.right = makeOutputs(ctx, o);
  o.body = h("div", { class: "nbp-outcome-body" }, o.left, o.right);
  o.element = h(
    "section",
    { class: "nbp-panel nbp-outcome", "aria-label": "The choice" },
    h("h3", {}, "Your choice"),
    o.hint,
    o.body,
  );
  const read = oncePerFrame(life, () => readOutcome(o));
  life.on(backend, ["counts", "outputs", "status", "classes", "options"], read);
  choice.listen(read);
  read();
  return o;
}

// How many images: what the classes allow, unless somebody types another number
function makeSizes(ctx, o) {
  const field = (label, attributes, hint) => {
    const input = h("input", { id: uid("size"), type: "number", required: "", ...attributes });
    input.setAttribute("aria-describedby", hint.id);
    const element = h(
      "div",
      { class: "nbp-field" },
      h("label", { for: input.id }, label),
      input,
      hint,
    );
    return { input, element };
  };
  o.sizeHint = h("span", { class: "nbp-hint", id: uid("hint") });
  const size = field("Clean images a class", { min: 2, step: 1, name: "n_clean" }, o.sizeHint);
  const rateHint = h("span", { class: "nbp-hint", id: uid("hint") }, "share of poison in training");
  const rate = field("Injection rate", { min: 0, max: 0.99, step: "any" }, rateHint);
  o.size = size.input;
  o.rate = rate.input;
  o.fit = h("button", { type: "button", class: "nbp-button nbp-small", hidden: true });
  o.fit.onclick = () => ask({ n_clean: null });
  o.size.after(o.fit);
  const ask = settings => {
    const { classes, target } = ctx.choice.get();
    ctx.send({ type: "choose", classes, target, ...settings });
  };
  const later = debounced(ctx.life, REST, ask);
  const typed = (input, name) => () => {
    const ok = input.value !== "" && input.checkValidity();
    input.setAttribute("aria-invalid", ok ? "false" : "true");
    if (ok) later({ [name]: Number(input.value) });
    else later.cancel();
  };
  o.size.oninput = typed(o.size, "n_clean");
  o.rate.oninput = typed(o.rate, "inject_rate");
  return [size.element, rate.element];
}

// What is being typed is not overwritten
function readSizes(o, counts) {
  const { size } = counts;
  for (const element of [o.size, o.rate]) element.parentNode.hidden = !size;
  if (!size) return;
  const active = o.size.getRootNode().activeElement;
  for (const [input, value] of [
    [o.size, size.n_clean],
    [o.rate, size.inject_rate],
  ]) {
    if (input === active && input.value !== "") continue;
    input.value = value;
    input.setAttribute("aria-invalid", "false");
  }
  const { fits, least } = size;
  const few = counts.rows.id.length ? Math.min(...counts.rows.n_clean) : 0;
  const most = few <= fits ? `: ${whole(few)} of “${least}”` : "";
  setText(
    o.sizeHint,
    fits ? `these classes allow ${whole(fits)}${most}` : `“${least}” has ${whole(few)}`,
  );
  o.fit.hidden = !size.sized || !fits || fits === size.n_clean;
  setText(o.fit, `Take ${whole(fits)}, which these classes allow`);
}

// Tabs: one text at a time, all of them ready to be copied
function makeOutputs(ctx, o) {
  o.text = {};
  o.code = h("code");
  o.shown = "line";
  o.pre = h("pre", { class: "nbp-code", id: uid("text"), role: "tabpanel", tabindex: "0" }, o.code);
  o.tabs = OUTPUTS.map(([key, title]) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        id: uid("tab"),
        "aria-controls": o.pre.id,
        onclick: () => showOutput(o, key),
      },
      title,
    ),
  );
  const bar = h(
    "div",
    {
      role: "tablist",
      class: "nbp-tabs",
      "aria-label": "The choice as text",
      onkeydown: event => tabKey(o, event),
    },
    o.tabs,
  );
  const copy = copyButton(() => o.text[o.shown] || "", "the text");
  o.path = h("input", {
    id: uid("path"),
    type: "text",
    spellcheck: "false",
    autocomplete: "off",
    placeholder: "selection.json",
  });
  o.path.onkeydown = event => {
    if (event.key === "Enter") save();
  };
  const save = () => ctx.send({ type: "save", path: o.path.value.trim() });
  o.saved = h("p", { class: "nbp-hint", role: "status" });
  o.failed = h("p", { class: "nbp-alert", role: "alert", hidden: true });
  o.saving = h(
    "div",
    { class: "nbp-save" },
    h(
      "div",
      { class: "nbp-field" },
      h("label", { for: o.path.id }, "Save the selection as"),
      o.path,
    ),
    h("button", { type: "button", class: "nbp-button nbp-main", onclick: save }, "Save"),
  );
  return h(
    "div",
    {},
    h("div", { class: "nbp-row" }, bar, copy),
    o.pre,
    o.saving,
    o.saved,
    o.failed,
  );
}

function tabKey(o, event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const there = OUTPUTS.map(([key]) => key).filter(key => o.text[key]);
  const next = there[(there.indexOf(o.shown) + by + there.length) % there.length];
  showOutput(o, next);
  o.tabs[OUTPUTS.findIndex(([key]) => key === next)].focus();
}

function showOutput(o, shown) {
  o.shown = shown;
  OUTPUTS.forEach(([key], i) => {
    o.tabs[i].hidden = !o.text[key];
    o.tabs[i].setAttribute("aria-selected", key === shown ? "true" : "false");
    o.tabs[i].tabIndex = key === shown ? 0 : -1;
    if (key === shown) o.pre.setAttribute("aria-labelledby", o.tabs[i].id);
  });
  o.pre.dataset.kind = shown;
  setText(o.code, o.text[shown] || "");
}

function readOutcome(o) {
  const { backend, names, choice } = o.ctx;
  const counts = backend.get("counts") || {};
  const { trigger, classes, target } = choice.get();
  const there = trigger !== null && counts.rows !== undefined;
  o.hint.hidden = there;
  o.body.hidden = !there;
  if (!there) return;
  const ids = [...classes].sort((a, b) => names.of(a).localeCompare(names.of(b)));
  const options = [
    h("option", { value: "" }, "choose a target …"),
    ...ids.map(id => h("option", { value: id }, names.of(id))),
  ];
  o.target.replaceChildren(...options);
  o.target.value = target === null ? "" : String(target);
  readSizes(o, counts);
  const made = !counts.size || (counts.injection_rate ?? null) !== null;
  o.element.dataset.made = made;
  setText(o.verdict, made ? "" : "A split of these numbers cannot be made:");
  const figures = [
    ["Trigger", names.of(trigger)],
    ["Classes", whole(classes.length)],
    [counts.size ? "Clean images for training" : "Clean images", whole(counts.n_clean)],
    ["Poison images", whole(counts.n_poison)],
  ];
  if (counts.injection_rate !== null && counts.injection_rate !== undefined)
    figures.push(["Injection rate", percent(counts.injection_rate)]);
  o.figures.replaceChildren(
    ...figures.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))),
  );
  o.note.hidden = !backend.get("options").static;
  const warnings = counts.warnings || [];
  o.warnings.hidden = !warnings.length;
  if (String(warnings) !== o.warned)
    o.warnings.replaceChildren(...warnings.map(text => h("li", {}, text)));
  o.warned = String(warnings);
  o.counts.replaceChildren(
    ...counts.rows.id.map((id, i) =>
      h(
        "tr",
        {},
        h(
          "td",
          {},
          nameCell(names, id),
          id === target ? h("span", { class: "nbp-tag" }, "target") : null,
        ),
        h("td", { class: "nbp-num" }, whole(counts.rows.n_clean[i])),
        h("td", { class: "nbp-num" }, whole(counts.rows.n_poison[i])),
      ),
    ),
  );
  readOutputs(o);
}

function readOutputs(o) {
  const { backend } = o.ctx;
  const outputs = backend.get("outputs") || {};
  const options = backend.get("options");
  const status = backend.get("status") || {};
  o.text = outputs;
  if (!outputs[o.shown]) o.shown = (OUTPUTS.find(([key]) => outputs[key]) || ["line"])[0];
  showOutput(o, o.shown);
  o.saving.hidden = Boolean(options.static);
  // the field follows the backend until somebody writes into it
  if (
    outputs.path !== undefined &&
    o.given !== outputs.path &&
    o.path.getRootNode().activeElement !== o.path
  )
    o.path.value = o.given = outputs.path;
  setText(o.saved, outputs.saved || "");
  const failed = status.state === "error" && ["save", "choose"].includes(o.ctx.asked);
  o.failed.hidden = !failed;
  setText(o.failed, failed ? status.message : "");
}
