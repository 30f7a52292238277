// The table of triggers, and "which triggers could poison this class?"

import { count, decimal, h, oncePerFrame, setText, uid, whole } from "./dom.js";
import { classInput, nameCell } from "./names.js";
import { makeTable, tableKey } from "./table.js";

export function makeTriggers(ctx) {
  const { backend, names, life, choice } = ctx;
  let rows = { id: [], centrality: [], n_classes: [], bound: [], n_images: [], n_poison: [] };
  const number = (title, key, width, hint, cell) => ({
    title,
    hint,
    numeric: true,
    width,
    value: i => rows[key][i],
    cell: cell || (i => whole(rows[key][i])),
  });
  // a set that was not proven to be the largest says how large it could be
  const size = i =>
    rows.bound?.[i] > rows.n_classes[i]
      ? `${whole(rows.n_classes[i])} (≤ ${whole(rows.bound[i])})`
      : whole(rows.n_classes[i]);
  const table = makeTable(life, {
    label: "Triggers",
    minWidth: 260,
    empty: "No trigger fulfills these settings.",
    onPick: id => choice.pick(id),
    columns: [
      {
        title: "Trigger",
        value: i => names.of(rows.id[i]),
        cell: i => nameCell(names, rows.id[i]),
      },
      number("Centr.", "centrality", "64px", "Centrality", i => decimal(rows.centrality[i])),
      number("Classes", "n_classes", "62px", "Classes that it could attack together", size),
      { ...number("Images", "n_images", "58px", "Images that show the trigger"), wide: true },
      number("Poison", "n_poison", "56px", "Poison images over its classes"),
    ],
  });
  const search = h("input", {
    id: uid("search"),
    type: "search",
    placeholder: "Search by name",
    autocomplete: "off",
    spellcheck: "false",
  });
  const said = h("span", { class: "nbp-hint", role: "status" });
  const say = () =>
    setText(
      said,
      search.value.trim()
        ? `${whole(table.order.length)} of ${count(table.n, "trigger")}`
        : count(table.n, "trigger"),
    );
  search.oninput = () => {
    table.setFilter(search.value);
    say();
  };
  search.onkeydown = event => {
    // from the search straight into the table
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      table.table.focus();
      tableKey(table, { key: "Home", preventDefault() {} });
    }
  };
  const read = oncePerFrame(life, () => {
    rows = backend.get("result")?.triggers || rows;
    table.update(rows.id.length, i => rows.id[i], { search: i => names.searchOf(rows.id[i]) });
    say();
  });
  life.on(backend, ["result", "classes"], read);
  choice.listen(() => table.select(choice.wanted()));
  read();
  table.select(choice.wanted());
  const element = h(
    "section",
    { class: "nbp-panel nbp-triggers", "aria-label": "Triggers" },
    h("div", { class: "nbp-row" }, h("h3", {}, "Triggers"), said),
    h(
      "div",
      { class: "nbp-search" },
      h("label", { class: "nbp-spoken", for: search.id }, "Search triggers by name"),
      search,
    ),
    table.element,
  );
  return { element, table };
}

export function makeLookup(ctx, triggers) {
  const { backend, names, life, choice } = ctx;
  let rows = { trigger: [], centrality: [], overlaps: [], n_clean: [], n_poison: [] };
  const number = (title, key, cell) => ({
    title,
    numeric: true,
    width: title === "Overlaps" ? "76px" : "62px",
    value: i => rows[key][i],
    cell: cell || (i => whole(rows[key][i])),
  });
  const table = makeTable(life, {
    label: "Triggers that could poison the class",
    minWidth: 320,
    empty: "No trigger’s set holds this class.",
    onPick: id => {
      choice.pick(id);
      triggers.table.show(id);
    },
    columns: [
      {
        title: "Trigger",
        value: i => names.of(rows.trigger[i]),
        cell: i => nameCell(names, rows.trigger[i]),
      },
      number("Overlaps", "overlaps"),
      number("Clean", "n_clean"),
      number("Poison", "n_poison"),
    ],
  });
  const said = h("p", { class: "nbp-hint", role: "status" });
  let asked = null;
  const input = classInput(ctx, {
    label: "Which triggers could poison the class …",
    keep: true,
    onPick: id => {
      asked = id;
      ctx.send({ type: "for_class", id });
    },
  });
  const read = oncePerFrame(life, () => {
    const found = backend.get("for_class") || {};
    table.element.hidden = found.rows === undefined;
    if (!found.rows) return;
    rows = found.rows;
    table.update(rows.trigger.length, i => rows.trigger[i]);
    setText(said, `${count(rows.trigger.length, "trigger")} could poison ${names.of(found.class)}`);
  });
  life.on(backend, "for_class", read);
  // after another analysis the answer is another one
  life.on(backend, "result", () => {
    if (asked !== null) ctx.send({ type: "for_class", id: asked });
  });
  choice.listen(() => table.select(choice.wanted()));
  read();
  return {
    element: h(
      "section",
      { class: "nbp-panel nbp-lookup", "aria-label": "Triggers for a class" },
      input.element,
      said,
      table.element,
    ),
  };
}
