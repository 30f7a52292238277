// One trigger: its neighbors as a table, and as a graph. Pointing at a class in one shows it in the
// other.

import {
  count,
  debounced,
  decimal,
  h,
  oncePerFrame,
  percent,
  setText,
  touched,
  uid,
  whole,
} from "./dom.js";
import { makeGraph } from "./graph.js";
import { nameCell } from "./names.js";
import { makeTable } from "./table.js";

const REST = 200; // milliseconds that something is pointed at before the kernel is asked about it

const POINT = touched.matches
  ? "Tap a class to choose it or leave it out, and to see why it is not in the set."
  : "Click a class, or press Space, to choose it or leave it out. " +
    "Point at one to see why it is not in the set.";

export function makeDetail(ctx) {
  const { backend, life, choice } = ctx;
  const d = { ctx, rows: { id: [] }, chosen: new Set(), shown: undefined };
  d.reasons = new Map(); // class -> why it is not in the set, in full
  d.pointed = null;
  d.title = h("h3", {}, "Classes");
  d.about = h("span", { class: "nbp-hint", role: "status" });
  d.reason = h("p", { class: "nbp-reason", "aria-live": "polite" });
  d.table = makeTable(life, {
    label: "Classes beside the trigger",
    rowHeight: 40,
    minWidth: 260,
    empty: "No class is joined to this trigger.",
    onToggle: id => choice.toggle(id),
    onActive: id => pointAt(d, id, true),
    columns: detailColumns(d),
  });
  d.graph = makeGraph(ctx, {
    onToggle: id => choice.toggle(id),
    onHover: id => pointAt(d, id, false),
  });
  d.all = h("button", { type: "button", class: "nbp-button nbp-small" }, "Back to the set found");
  d.all.onclick = () => {
    const { trigger, target } = choice.get();
    choice.choose([...(backend.get("result").sets[trigger] || [])], target);
  };
  d.none = h(
    "button",
    { type: "button", class: "nbp-button nbp-small", onclick: () => choice.choose([], null) },
    "None",
  );
  d.body = h(
    "div",
    { class: "nbp-detail-body" },
    h("div", { class: "nbp-row" }, d.about, h("span", { class: "nbp-buttons" }, d.all, d.none)),
    searchClasses(d),
    d.table.element,
    d.reason,
  );
  d.hint = h(
    "p",
    { class: "nbp-empty" },
    "Pick a trigger in the table: its classes, and how they appear together, are shown here.",
  );
  d.element = h(
    "section",
    { class: "nbp-panel nbp-detail", "aria-label": "Classes of the trigger" },
    d.title,
    d.hint,
    d.body,
  );
  d.ask = debounced(life, REST, () => askReason(d));
  life.add(
    backend.onMessage(content => {
      if (content.type !== "why" || content.trigger !== d.shown?.trigger) return;
      d.reasons.set(content.class, content.text);
      sayReason(d);
    }),
  );
  const read = oncePerFrame(life, () => readDetail(d));
  life.on(backend, ["detail", "classes"], () => {
    d.shown = undefined;
    read();
  });
  choice.listen(read);
  read();
  return d;
}

function searchClasses(d) {
  const search = h("input", {
    id: uid("search"),
    type: "search",
    placeholder: "Search classes",
    autocomplete: "off",
    spellcheck: "false",
    "aria-label": "Search classes by name",
  });
  search.oninput = () => d.table.setFilter(search.value);
  d.only = h("input", { id: uid("only"), type: "checkbox" });
  d.only.onchange = () => showChosen(d);
  return h(
    "div",
    { class: "nbp-search nbp-search-classes" },
    search,
    h(
      "span",
      { class: "nbp-field nbp-check" },
      d.only,
      h("label", { for: d.only.id }, "Chosen only"),
    ),
  );
}

// The rows of what is chosen now; one that is taken out meanwhile stays until this is asked again
function showChosen(d) {
  const kept = new Set(d.chosen);
  d.table.setKeep(d.only.checked ? i => kept.has(d.rows.id[i]) : () => true);
}

function detailColumns(d) {
  const { names } = d.ctx;
  const number = (title, key, width, hint, cell) => ({
    title,
    hint,
    numeric: true,
    width,
    value: i => d.rows[key][i],
    cell: cell || (i => whole(d.rows[key][i])),
  });
  const wide = column => ({ ...column, wide: true });
  return [
    { spoken: "Chosen", width: "34px", cell: i => checkCell(d, i) },
    { title: "Class", value: i => names.of(d.rows.id[i]), cell: i => classCell(d, i) },
    number("Overlaps", "overlaps", "68px", "Images that show both", i => whole(d.rows.overlaps[i])),
    wide(
      number(
        "P(trig.|class)",
        "p_trigger",
        "108px",
        "P(trigger | class): the share of the images of the class that show the trigger",
        i => shareCell(d, i),
      ),
    ),
    wide(
      number("Lift", "lift", "52px", "How many times more often than by chance", i =>
        decimal(d.rows.lift[i]),
      ),
    ),
    number("Clean", "n_clean", "54px", "Images of the class without the trigger"),
    number("Poison", "n_poison", "56px", "Images of the class with the trigger"),
  ];
}

function checkCell(d, i) {
  const id = d.rows.id[i];
  const name = d.ctx.names.of(id);
  return h("input", {
    type: "checkbox",
    tabindex: "-1",
    checked: d.chosen.has(id),
    "aria-label": `Attack ${name}`,
  });
}

function classCell(d, i) {
  const reason = d.rows.reason[i];
  return h(
    "span",
    { class: "nbp-class" },
    nameCell(d.ctx.names, d.rows.id[i]),
    reason ? h("span", { class: "nbp-why", title: reason }, reason) : null,
  );
}

function shareCell(d, i) {
  const share = d.rows.p_trigger[i];
  const bar = h(
    "span",
    { class: "nbp-bar", "aria-hidden": "true" },
    h("span", { style: `width:${Math.round(100 * Math.min(1, share ?? 0))}%` }),
  );
  return h(
    "span",
    { class: "nbp-share" },
    h("span", {}, `${percent(share)} ${d.rows.band[i]}`),
    bar,
  );
}

function pointAt(d, id, fromTable) {
  if (fromTable) d.graph.hoverId(id);
  else if (id !== null && d.rows.id.includes(id)) {
    d.table.active = id;
    d.table.show(id);
  }
  d.pointed = id;
  sayReason(d);
  d.ask();
}

// At once what the table knows; the whole reason, with what would admit the class, when it is there
function sayReason(d) {
  const id = d.pointed;
  const i = d.rows.id.indexOf(id);
  const short = d.rows.reason?.[i];
  const text =
    i < 0
      ? POINT
      : short
        ? `${d.ctx.names.of(id)}: not in the set found. ${d.reasons.get(id) ?? short}`
        : `${d.ctx.names.of(id)}: in the set found.`;
  setText(d.reason, text);
}

function askReason(d) {
  const id = d.pointed;
  const i = d.rows.id.indexOf(id);
  if (i < 0 || !d.rows.reason[i] || d.reasons.has(id) || d.ctx.backend.get("options").static)
    return;
  d.ctx.send({ type: "explain", id });
}

function readDetail(d) {
  const { backend, names, choice } = d.ctx;
  const detail = backend.get("detail") || {};
  const wanted = choice.wanted();
  const there = detail.rows !== undefined && detail.trigger === wanted;
  d.hint.hidden = wanted !== null;
  d.body.hidden = wanted === null || (!there && d.shown === undefined);
  d.graph.panel.hidden = d.body.hidden;
  d.element.setAttribute("aria-busy", wanted !== null && !there ? "true" : "false");
  setText(d.title, wanted === null ? "Classes" : names.of(wanted));
  if (!there) return setText(d.about, wanted === null ? "" : "Working …");
  const { classes } = choice.get();
  d.chosen = new Set(classes);
  d.rows = detail.rows;
  if (d.shown !== detail) {
    const same = d.shown?.trigger === detail.trigger;
    d.shown = detail;
    if (!same) d.table.scroll.scrollTop = 0;
    d.table.active = null;
    d.reasons.clear();
    d.pointed = null;
    sayReason(d);
    showChosen(d);
    d.table.update(d.rows.id.length, i => d.rows.id[i], {
      search: i => names.searchOf(d.rows.id[i]),
      rank: i => (d.chosen.has(d.rows.id[i]) ? 0 : 1),
    });
    d.graph.setGraph(detail.graph);
  }
  d.table.draw();
  d.graph.setChosen(d.chosen);
  setText(
    d.about,
    `${whole(classes.length)} of ${count(d.rows.id.length, "class", "classes")} chosen · ` +
      `${count(names.imagesOf(wanted) ?? 0, "image")} show it`,
  );
}
