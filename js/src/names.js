// Names of classes, and an input that picks one by name

import { h, setText, uid } from "./dom.js";

export function makeNames(backend, life) {
  const names = { name: [], full: [], search: [], images: [], at: new Map(), byText: new Map() };
  const read = () => {
    const { id = [], label = [], name = [], images = [] } = backend.get("classes") || {};
    const seen = new Map();
    for (const text of name) seen.set(text, (seen.get(text) || 0) + 1);
    names.at = new Map(id.map((value, i) => [value, i]));
    names.ids = id;
    names.name = name;
    names.label = label;
    names.images = images;
    // Names may repeat, labels never do.
    names.full = name.map((text, i) => (seen.get(text) > 1 ? `${text} (${label[i]})` : text));
    names.search = names.full.map((text, i) => `${text}\n${label[i]}`.toLowerCase());
    names.byText = new Map(names.full.map((text, i) => [text.toLowerCase(), id[i]]));
  };
  names.of = id => names.full[names.at.get(id)] ?? `class ${id}`;
  names.searchOf = id => names.search[names.at.get(id)] ?? "";
  names.imagesOf = id => names.images[names.at.get(id)] ?? null;
  read();
  life.on(backend, "classes", read);
  return names;
}

// The id of the class that `text` means: its name, or the only one (else the first) that starts
// with or contains it
function findClass(names, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  if (names.byText.has(wanted)) return names.byText.get(wanted);
  const near = matchingClasses(names, wanted, 1);
  return near.length ? near[0] : null;
}

function matchingClasses(names, wanted, n) {
  const starts = [];
  const contains = [];
  for (let i = 0; i < names.ids.length && starts.length < n; i++) {
    const at = names.search[i].indexOf(wanted);
    if (at === 0) starts.push(names.ids[i]);
    else if (at > 0 && contains.length < n) contains.push(names.ids[i]);
  }
  return [...starts, ...contains].slice(0, n);
}

// An input with suggestions. Only the nearest names are in the list, since a dataset may have
// 20,000 classes.
export function classInput(ctx, { label, hint, onPick, keep = false }) {
  const list = h("datalist", { id: uid("names") });
  const input = h("input", {
    id: uid("class"),
    type: "text",
    list: list.id,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "Type a name",
  });
  const suggest = () =>
    list.replaceChildren(
      ...matchingClasses(ctx.names, input.value.trim().toLowerCase(), 30).map(id =>
        h("option", { value: ctx.names.of(id) }),
      ),
    );
  const pick = id => {
    if (id === null) return;
    input.value = keep ? ctx.names.of(id) : "";
    onPick(id);
  };
  input.onfocus = suggest;
  input.oninput = event => {
    setText(none, "");
    const exact = ctx.names.byText.get(input.value.trim().toLowerCase());
    // choosing from the list arrives as a replacement of the whole text
    if (exact !== undefined && (!event.inputType || event.inputType === "insertReplacementText"))
      pick(exact);
    else suggest();
  };
  input.onkeydown = event => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const found = findClass(ctx.names, input.value);
    const wanted = input.value.trim();
    setText(none, found === null && wanted ? `No class is called “${wanted}”.` : "");
    pick(found);
  };
  const none = h("span", { class: "nbp-wrong", role: "status" });
  const element = h(
    "div",
    { class: "nbp-field" },
    h("label", { for: input.id }, label),
    input,
    list,
    none,
    hint ? h("span", { class: "nbp-hint" }, hint) : null,
  );
  return { element, input };
}

export function nameCell(names, id) {
  return h("span", { class: "nbp-name", title: names.of(id) }, names.of(id));
}
