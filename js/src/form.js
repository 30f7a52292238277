// The parameters of the analysis. A change is sent at once (numbers after a short rest); what is
// shown stays until the answer is there. An error stands beside the form and what was typed stays,
// to be corrected.

import { debounced, h, oncePerFrame, setText, uid } from "./dom.js";
import { classInput } from "./names.js";

const REST = 250; // milliseconds without a key before a number is sent
const SUBSETS = {
  exact: "largest set (exact)",
  mis: "best of random sets (mis)",
  none: "all neighbors (none)",
};
const FIELDS = [
  { key: "centrality", kind: "select", label: "Centrality", hint: "ranks the candidates" },
  { key: "weighted", kind: "check", label: "Weighted by overlaps" },
  {
    key: "subset",
    kind: "select",
    label: "Class sets",
    hint: "how classes are chosen",
    words: SUBSETS,
  },
  {
    key: "min_overlaps",
    kind: "number",
    label: "Min overlaps",
    min: 1,
    hint: "images two classes share to be joined",
  },
  {
    key: "max_overlaps_with_others",
    kind: "number",
    label: "Max overlaps with others",
    min: -1,
    hint: "images two chosen classes may share; −1: fewer than Min overlaps",
  },
  {
    key: "min_clean",
    kind: "number",
    label: "Min clean",
    min: 0,
    hint: "images of a class without the trigger",
  },
  {
    key: "min_poison",
    kind: "number",
    label: "Min poison",
    min: 0,
    hint: "images of a class with the trigger",
  },
  {
    key: "min_classes",
    kind: "number",
    label: "Min classes",
    min: 0,
    hint: "classes a trigger needs",
  },
  {
    key: "n_triggers",
    kind: "number",
    label: "Candidates",
    min: 1,
    hint: "this many, by centrality",
  },
  { key: "exclude_people", kind: "check", label: "Leave people out as triggers" },
  { key: "exclude", kind: "classes", label: "Not as triggers" },
];

export function makeForm(ctx) {
  const form = { ctx, unsent: false, fields: {}, values: { ...ctx.backend.get("params") } };
  const grid = ctx.backend.get("options").grid;
  const shown = FIELDS.filter(field => !grid || grid[field.key]?.length > 1);
  const send = debounced(ctx.life, REST, () => sendParams(form));
  form.changed = (key, value, soon) => {
    form.values[key] = value;
    form.last = key;
    form.unsent = true;
    sayBusy(form);
    if (soon) {
      send.cancel();
      sendParams(form);
    } else send();
  };
  form.alert = h("p", { class: "nbp-alert", role: "alert", hidden: true });
  form.back = h(
    "button",
    { type: "button", class: "nbp-button nbp-small", hidden: true },
    "Back to the settings shown",
  );
  form.back.onclick = () => restore(form);
  form.problem = h("div", { class: "nbp-problem" }, form.alert, form.back);
  const fields = shown.map(field => {
    const made = makeField(
      form,
      grid ? { ...field, kind: "select", values: grid[field.key] } : field,
    );
    form.fields[field.key] = made;
    return made.element;
  });
  form.said = h("span", { class: "nbp-hint" });
  const title = h("summary", {}, h("h3", {}, "Settings"), " ", form.said);
  form.element = h(
    "details",
    { class: "nbp-panel nbp-form" },
    title,
    form.problem,
    h(
      "form",
      {
        onsubmit: event => {
          event.preventDefault();
          send.cancel();
          sendParams(form);
        },
      },
      fields,
    ),
    grid ? fixedParams(form.values, shown) : null,
  );
  const read = oncePerFrame(ctx.life, () => readStatus(form));
  ctx.life.on(ctx.backend, ["params", "status"], read);
  fill(form);
  readStatus(form);
  return form;
}

function makeField(form, field) {
  return { select: selectField, check: checkField, number: numberField, classes: classesField }[
    field.kind
  ](form, field);
}

function labeled(field, control, extra = []) {
  const hint = field.hint ? h("span", { class: "nbp-hint", id: uid("hint") }, field.hint) : null;
  if (hint) control.setAttribute("aria-describedby", hint.id);
  return h(
    "div",
    { class: `nbp-field nbp-${field.kind}` },
    h("label", { for: control.id }, field.label),
    control,
    hint,
    extra,
  );
}

function selectField(form, field) {
  const all =
    field.values ||
    (field.key === "centrality"
      ? form.ctx.backend.get("options").centralities
      : Object.keys(SUBSETS));
  const text = value =>
    field.words?.[value] ?? { true: "yes", false: "no" }[value] ?? String(value);
  const select = h(
    "select",
    { id: uid(field.key), name: field.key },
    all.map((value, i) => h("option", { value: i }, text(value))),
  );
  select.onchange = () => form.changed(field.key, all[select.selectedIndex], true);
  return {
    element: labeled(field, select),
    control: select,
    set: value => {
      select.selectedIndex = all.indexOf(value);
    },
  };
}

function checkField(form, field) {
  const box = h("input", { id: uid(field.key), type: "checkbox", name: field.key });
  box.onchange = () => form.changed(field.key, box.checked, true);
  const element = h(
    "div",
    { class: "nbp-field nbp-check" },
    box,
    h("label", { for: box.id }, field.label),
  );
  return {
    element,
    control: box,
    set: value => {
      box.checked = Boolean(value);
    },
  };
}

function numberField(form, field) {
  const wrong = h(
    "span",
    { class: "nbp-wrong", hidden: true },
    `A whole number, ${String(field.min).replace("-", "−")} or more`,
  );
  const input = h("input", {
    id: uid(field.key),
    type: "number",
    name: field.key,
    min: field.min,
    step: 1,
    inputmode: "numeric",
    required: "",
  });
  const check = () => {
    const ok = input.value !== "" && input.checkValidity();
    wrong.hidden = ok;
    input.setAttribute("aria-invalid", ok ? "false" : "true");
    return ok;
  };
  input.oninput = () => {
    if (check()) form.changed(field.key, Number(input.value), false);
  };
  return {
    element: labeled(field, input, [wrong]),
    control: input,
    set: value => {
      input.value = value ?? "";
      check();
    },
  };
}

// Classes that are not offered as triggers: each a chip with a button that takes it out
function classesField(form, field) {
  const { names } = form.ctx;
  const chips = h("div", {
    class: "nbp-chips",
    role: "group",
    "aria-label": "Classes left out as triggers",
  });
  let ids = [];
  const change = next => {
    draw(next);
    form.changed(field.key, [...ids], true);
  };
  const draw = next => {
    ids = next;
    chips.replaceChildren(
      ...ids.map(id =>
        h(
          "span",
          { class: "nbp-chip" },
          h("span", {}, names.of(id)),
          h(
            "button",
            {
              type: "button",
              "aria-label": `Offer ${names.of(id)} again`,
              onclick: () => {
                change(ids.filter(i => i !== id));
                made.input.focus(); // the button that had the focus is gone
              },
            },
            "×",
          ),
        ),
      ),
    );
  };
  const made = classInput(form.ctx, {
    label: field.label,
    onPick: id => {
      if (!ids.includes(id)) change([...ids, id]);
    },
  });
  made.element.append(chips);
  made.element.classList.add("nbp-classes");
  return { element: made.element, control: made.input, set: value => draw(value || []) };
}

// In a page without a kernel only some settings were computed; the others are said, not offered.
function fixedParams(params, shown) {
  const offered = new Set(shown.map(field => field.key));
  const rest = FIELDS.filter(
    field => !offered.has(field.key) && field.kind !== "classes" && field.key in params,
  );
  const text = value => ({ true: "yes", false: "no" })[value] ?? String(value);
  return h(
    "div",
    { class: "nbp-fixed" },
    h("p", { class: "nbp-hint" }, "The same in all results of this page:"),
    h(
      "dl",
      {},
      rest.flatMap(field => [h("dt", {}, field.label), h("dd", {}, text(params[field.key]))]),
    ),
  );
}

function sendParams(form) {
  const status = form.ctx.backend.get("status") || {};
  // another view of the same widget may have asked in between
  form.serial = Math.max(form.serial || 0, status.serial || 0) + 1;
  form.unsent = false;
  sayBusy(form);
  form.ctx.send({ type: "analyze", params: { ...form.values }, serial: form.serial });
}

function fill(form) {
  form.values = { ...form.ctx.backend.get("params") };
  setText(form.said, inShort(form.values));
  for (const [key, field] of Object.entries(form.fields)) field.set(form.values[key]);
}

// What the settings say while they are folded away
function inShort(values) {
  const number = key =>
    [FIELDS.find(f => f.key === key).label.toLowerCase(), values[key]].join(" ");
  const left = (values.exclude || []).length;
  const parts = [
    `${values.centrality}${values.weighted ? ", weighted" : ""}`,
    SUBSETS[values.subset] ?? values.subset,
    number("min_overlaps"),
    number("max_overlaps_with_others").replace("-", "−"),
    ...["min_clean", "min_poison"].filter(key => values[key]).map(number),
    left ? `${left} left out` : "",
  ];
  return parts.filter(Boolean).join(" · ");
}

function restore(form) {
  (form.fields[form.last] || Object.values(form.fields)[0]).control.focus(); // the button goes away
  fill(form);
  sendParams(form);
}

// Whether the last change was sent, and the answer to it is there
function isAnswered(form) {
  const status = form.ctx.backend.get("status") || {};
  return !form.unsent && status.state !== "working" && (status.serial || 0) >= (form.serial || 0);
}

// Stays false from the answer to the next change: whoever waits for a result waits for this
function sayBusy(form) {
  form.element.setAttribute("aria-busy", isAnswered(form) ? "false" : "true");
}

function readStatus(form) {
  const status = form.ctx.backend.get("status") || {};
  // the panel of the choice shows its own errors
  const failed = status.state === "error" && !["save", "choose"].includes(form.ctx.asked);
  // what is being typed, or was refused, is not overwritten by the settings of the result that is
  // shown
  if (isAnswered(form) && !failed) fill(form);
  sayBusy(form);
  // what is wrong is said where it was done: the form may be longer than the window
  const at = form.fields[form.last]?.element;
  if (failed && at && form.problem.previousSibling !== at) at.after(form.problem);
  if (failed) form.element.open = true;
  form.problem.hidden = form.alert.hidden = form.back.hidden = !failed;
  setText(form.alert, failed ? status.message : "");
}
