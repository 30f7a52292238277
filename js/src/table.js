// A table of thousands of rows: only those in sight are in the page. Sorted by header buttons,
// walked with the arrow keys. The focus stays on the table itself and `aria-activedescendant` names
// the active row, so that drawing rows anew never loses it.

import { h, oncePerFrame, setText, spoken, uid } from "./dom.js";

const OVERSCAN = 8; // rows kept ready above and below

// columns: [{ title, width, numeric, cell(row) -> text or element, value(row) -> what is sorted by,
// hint, wide }]; a `wide` one is left out where there is little room.
// `rank(row)` is what comes first where nobody has sorted; `keep(row)` says whether a row is shown.
// The rows are numbers from 0; `id(row)` is what stays the same when they change.
export function makeTable(
  life,
  { label, columns, rowHeight = 34, minWidth = 0, onPick, onToggle, onActive, empty },
) {
  const t = {
    columns,
    rowHeight,
    order: [],
    n: 0,
    id: row => row,
    search: () => "",
    rank: () => 0,
    keep: () => true,
    filter: "",
    sort: null,
    down: false,
    selected: null,
    active: null,
    label,
    onPick,
    onToggle,
    onActive,
    empty,
    prefix: uid("row"),
  };
  t.body = h("tbody");
  t.heads = columns.map((column, i) => tableHead(t, column, i));
  t.table = h(
    "table",
    { role: "grid", tabindex: "0", "aria-label": label, class: "nbp-grid" },
    h(
      "colgroup",
      {},
      columns.map(c =>
        h("col", { style: c.width ? `width:${c.width}` : "", class: c.wide ? "nbp-wide" : null }),
      ),
    ),
    h("thead", {}, h("tr", {}, t.heads)),
    t.body,
  );
  t.table.style.minWidth = `${minWidth}px`;
  t.nothing = h("p", { class: "nbp-empty", role: "status", hidden: true });
  t.scroll = h("div", { class: "nbp-scroll" }, t.table, t.nothing);
  t.element = t.scroll;
  t.draw = () => drawRows(t);
  const draw = oncePerFrame(life, t.draw);
  life.listen(t.scroll, "scroll", draw, { passive: true });
  const size = new ResizeObserver(draw);
  size.observe(t.scroll);
  life.add(() => size.disconnect());
  listenToRows(life, t);
  t.update = (n, id, { search = () => "", rank = () => 0 } = {}) => {
    Object.assign(t, { n, id, search, rank });
    orderRows(t);
  };
  t.setKeep = keep => {
    t.keep = keep;
    t.scroll.scrollTop = 0;
    orderRows(t);
  };
  t.setFilter = text => {
    t.filter = text.trim().toLowerCase();
    t.scroll.scrollTop = 0;
    orderRows(t);
  };
  t.select = id => {
    t.selected = id;
    if (id !== null) t.active = id;
    t.draw();
  };
  t.show = id => showRow(t, id);
  return t;
}

function tableHead(t, column, i) {
  const arrow = h("span", { class: "nbp-arrow", "aria-hidden": "true" });
  if (!column.value) return h("th", { scope: "col" }, column.title || spoken(column.spoken));
  const button = h("button", { type: "button", title: column.hint || null }, column.title, arrow);
  button.onclick = () => {
    const first = column.numeric ? true : false; // large numbers first, names from A
    t.down = t.sort === i ? !t.down : first;
    t.sort = i;
    t.scroll.scrollTop = 0;
    orderRows(t);
  };
  return h("th", { scope: "col", class: cellClass(column), "aria-sort": "none" }, button);
}

function cellClass({ numeric, wide }) {
  return [numeric && "nbp-num", wide && "nbp-wide"].filter(Boolean).join(" ") || null;
}

function orderRows(t) {
  const order = [];
  for (let row = 0; row < t.n; row++)
    if (t.keep(row) && (!t.filter || t.search(row).includes(t.filter))) order.push(row);
  if (t.sort === null) {
    const ranks = Array.from({ length: t.n }, (_, row) => t.rank(row));
    order.sort((a, b) => ranks[a] - ranks[b] || a - b);
  } else {
    const values = Array.from({ length: t.n }, (_, row) => t.columns[t.sort].value(row));
    const sign = t.down ? -1 : 1;
    order.sort((a, b) => sign * compare(values[a], values[b]) || a - b);
  }
  t.order = order;
  t.place = new Map(order.map((row, i) => [t.id(row), i]));
  t.heads.forEach((head, i) => {
    if (!t.columns[i].value) return;
    head.setAttribute("aria-sort", t.sort === i ? (t.down ? "descending" : "ascending") : "none");
    head.querySelector(".nbp-arrow").textContent = t.sort === i ? (t.down ? "▼" : "▲") : "";
  });
  t.table.setAttribute("aria-rowcount", order.length + 1);
  t.nothing.hidden = order.length > 0;
  if (!order.length)
    setText(t.nothing, t.filter ? `Nothing matches “${t.filter}”.` : t.empty || "");
  t.draw();
}

// missing numbers come last, whichever way the table is sorted
function compare(a, b) {
  if (typeof a === "string") return a.localeCompare(b);
  return (a ?? -Infinity) - (b ?? -Infinity);
}

function drawRows(t) {
  const height = t.scroll.clientHeight || 400;
  const n = t.order.length;
  const first = Math.max(0, Math.min(n, Math.floor(t.scroll.scrollTop / t.rowHeight)) - OVERSCAN);
  const last = Math.min(n, Math.ceil((t.scroll.scrollTop + height) / t.rowHeight) + OVERSCAN);
  const rows = [];
  for (let i = first; i < last; i++) rows.push(tableRow(t, i));
  const gap = lines =>
    h("tr", { class: "nbp-gap", "aria-hidden": "true", style: `height:${lines * t.rowHeight}px` });
  t.body.replaceChildren(
    ...(first ? [gap(first)] : []),
    ...rows,
    ...(last < n ? [gap(n - last)] : []),
  );
  const active = t.place?.get(t.active);
  if (active >= first && active < last)
    t.table.setAttribute("aria-activedescendant", `${t.prefix}-${active}`);
  else t.table.removeAttribute("aria-activedescendant");
}

function tableRow(t, i) {
  const row = t.order[i];
  const id = t.id(row);
  const cells = t.columns.map(c => h("td", { class: cellClass(c) }, c.cell(row)));
  const tr = h(
    "tr",
    {
      id: `${t.prefix}-${i}`,
      "aria-rowindex": i + 2,
      "aria-selected": id === t.selected ? "true" : "false",
      class: id === t.active ? "nbp-active" : null,
      style: `height:${t.rowHeight}px`,
    },
    cells,
  );
  tr.dataset.at = i;
  return tr;
}

function listenToRows(life, t) {
  const at = event => event.target.closest?.("tr[data-at]")?.dataset.at;
  life.listen(t.body, "mousedown", event => {
    if (event.target.matches("input")) {
      // the box is drawn anew at once; the focus belongs to the table
      event.preventDefault();
      t.table.focus({ preventScroll: true });
    }
  });
  life.listen(t.body, "click", event => {
    if (at(event) === undefined) return;
    const id = t.id(t.order[+at(event)]);
    setActive(t, id);
    if (event.target.matches("input") || !t.onPick) t.onToggle?.(id);
    else t.onPick(id);
  });
  life.listen(t.body, "mouseover", event => {
    if (at(event) !== undefined) t.onActive?.(t.id(t.order[+at(event)]));
  });
  life.listen(t.scroll, "mouseleave", () => t.onActive?.(null));
  life.listen(t.table, "keydown", event => {
    if (event.target === t.table) tableKey(t, event);
  });
}

export function tableKey(t, event) {
  const now = t.place.get(t.active) ?? -1;
  const page = Math.max(1, Math.floor(t.scroll.clientHeight / t.rowHeight) - 2);
  const steps = {
    ArrowDown: now + 1,
    ArrowUp: Math.max(0, now - 1),
    PageDown: now + page,
    PageUp: now - page,
    Home: 0,
    End: Infinity,
  };
  if (event.key in steps) {
    const to = Math.max(0, Math.min(t.order.length - 1, steps[event.key]));
    if (t.order.length) setActive(t, t.id(t.order[to]));
  } else if (event.key === "Enter" && now >= 0) (t.onPick || t.onToggle)?.(t.active);
  else if (event.key === " " && now >= 0) (t.onToggle || t.onPick)?.(t.active);
  else return;
  event.preventDefault();
}

function setActive(t, id) {
  t.active = id;
  showRow(t, id);
  t.onActive?.(id);
}

// Scroll the table, and not the page, until the row of `id` is in sight
function showRow(t, id) {
  const i = t.place?.get(id);
  if (i === undefined) return;
  const head = t.heads[0].offsetHeight;
  const top = i * t.rowHeight;
  const bottom = top + t.rowHeight + head;
  if (top < t.scroll.scrollTop) t.scroll.scrollTop = top;
  else if (bottom > t.scroll.scrollTop + t.scroll.clientHeight)
    t.scroll.scrollTop = bottom - t.scroll.clientHeight;
  t.draw();
}
