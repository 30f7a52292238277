// The search of the site: MiniSearch ranks the pages and symbols of search-index.js (site_search.py)
"use strict";

const SMALL_WORDS = new Set(
  ("a an and are as at be by can do does for from get have how i if in is it its me mine of on " +
    "or our should that the their there this to up use using want was we what when where " +
    "which who why will with you your page").split(" "));
const FIELDS = { title: 6, keywords: 6, headings: 2.5, description: 3, text: 1 };
// guides before the reference, which is long; symbols are looked for by their exact names
const KIND_WEIGHT = { "Tutorial": 1.3, "How-to": 1.5, "Explanation": 1.3, "Page": 1.5,
  "About": 0.9, "Reference": 0.9 };
const SYMBOL_WEIGHT = 0.4;

const AS_THEY_ARE = new Set(["published"]); // "publish" is a question about law

// Singular, and without -ing and -ed: rough, but the same for pages and questions
function stem(word) {
  if (/[_\d]/.test(word) || word.length < 4 || AS_THEY_ARE.has(word)) return word;
  const single = word.replace(/ies$/, "y").replace(/(ch|sh|ss|x)es$/, "$1")
    .replace(/([^su])s$/, "$1");
  const shorter = single.replace(/(ing|ed)$/, "");
  return shorter.length >= 4 ? shorter : single;
}

// "find_triggers" and "TableDataset" are words, and so are their parts
function words(text) {
  const found = [];
  for (const word of text.match(/[\p{L}\p{N}_]+/gu) ?? []) {
    const parts = word.split(/_+|(?<=\p{Ll})(?=\p{Lu})/u).filter(part => part);
    if (parts.length > 1) found.push(word);
    found.push(...parts);
  }
  return found;
}

// Words with one meaning: each counts as itself and, a second time, as the number of its group.
// Names that are also written as one word (Hugging Face, Open Images) are read as that word.
const SAME_WORD = new Map();
const SAME_PHRASES = [];
const JOINED = [];
SEARCH_INDEX.same.forEach((group, number) => {
  for (const text of group.map(flat)) {
    const one = text.replaceAll(" ", "");
    if (text === one) SAME_WORD.set(stem(text), `=${number}`);
    else if (group.includes(one)) JOINED.push([new RegExp(`\\b${text}\\b`, "gi"), one]);
    else SAME_PHRASES.push([` ${text} `, `=${number}`]);
  }
});

function flat(text) {
  return text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
}

function tokens(text, field) {
  if (field === "text") return words(text).concat(text.match(/(?<=^| )=\d+/g) ?? []);
  const read = JOINED.reduce((said, [name, one]) => said.replace(name, one), text);
  const all = ` ${flat(read)} `;
  const meanings = SAME_PHRASES.filter(([phrase]) => all.includes(phrase));
  return words(read).concat(meanings.map(([, meaning]) => meaning));
}

function terms(token) {
  if (token.startsWith("=")) return token;
  const word = stem(token.toLowerCase());
  const meaning = SAME_WORD.get(word);
  return meaning ? [word, meaning] : word;
}

function weight(id) {
  const page = PAGE.get(id);
  if (!id.includes("#")) return KIND_WEIGHT[page.kind] ?? 1;
  return page.title.includes(".") ? SYMBOL_WEIGHT / 2 : SYMBOL_WEIGHT;
}

const PAGE = new Map(SEARCH_INDEX.pages.map(page => [page.id, page]));
const engine = new MiniSearch({
  fields: Object.keys(FIELDS),
  tokenize: tokens,
  processTerm: terms,
  extractField: (page, field) =>
    field === "headings" ? (page.headings ?? []).map(heading => heading[0]).join(" / ")
      : page[field] ?? "",
  searchOptions: {
    boost: FIELDS,
    boostDocument: weight,
    bm25: { k: 1.2, b: 0.4, d: 0.5 }, // long lists of keywords are no fault
    prefix: term => !term.startsWith("=") && term.length > 3,
    fuzzy: term => !/[=_\d]/.test(term) && term.length > 4 ? 0.2 : false,
  },
});
engine.addAll(SEARCH_INDEX.pages);

// The best pages and symbols first, each as {id, title, kind, description, headings, score}
function findPages(question, most = 30) {
  const asked = question.trim();
  const meant = asked.split(/\s+/).filter(word => !SMALL_WORDS.has(word.toLowerCase())).join(" ");
  const found = engine.search(meant || asked)
    .map(hit => ({ ...PAGE.get(hit.id), score: hit.score, matched: Object.keys(hit.match) }));
  // who types the name of a function or a class, means it
  const isName = /^\w*([a-z][A-Z]|_)\w*$/.test(asked);
  const named = page => isName && page.title === asked ? 1 : 0;
  found.sort((a, b) => named(b) - named(a) || b.score - a.score);
  return found.slice(0, most);
}

function element(name, properties, ...inside) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inside);
  return made;
}

function address(id) {
  const [page, anchor] = id.split("#");
  return `${page}.html${anchor ? `#${anchor}` : ""}`;
}

// Up to three headings of a page, those first that have most words of the question
function parts(page) {
  const count = heading => {
    const said = new Set(tokens(heading).flatMap(terms));
    return page.matched.filter(term => said.has(term)).length;
  };
  return (page.headings ?? []).map(([heading, anchor]) => ({ heading, anchor, n: count(heading) }))
    .filter(part => part.n).sort((a, b) => b.n - a.n).slice(0, 3);
}

function line(page) {
  const inside = parts(page).map(({ heading, anchor }) =>
    element("a", { className: "part", href: `${page.id}.html#${anchor}` }, heading));
  return element("li", {},
    element("a", { href: address(page.id), className: "hit" }, page.title),
    element("span", { className: "kind" }, page.kind),
    element("p", {}, page.description),
    ...(inside.length ? [element("p", { className: "parts" }, ...inside)] : []));
}

function show(question) {
  const place = document.getElementById("search-results");
  const found = question.trim() ? findPages(question) : [];
  const nothing = question.trim() ? `Nothing found for “${question.trim()}”.` : "";
  place.replaceChildren(
    element("p", { className: "search-summary" }, found.length ? "" : nothing),
    element("ol", { className: "search" }, ...found.map(line)));
}

function start() {
  const fields = document.querySelectorAll("input[name=q]");
  const question = new URLSearchParams(window.location.search).get("q") ?? "";
  const field = document.querySelector(".bd-article-container input[name=q], main input[name=q]");
  for (const one of fields) one.value = question;
  show(question);
  field?.focus();
  field?.addEventListener("input", () => {
    history.replaceState(null, "", `?q=${encodeURIComponent(field.value)}`);
    show(field.value);
  });
}

start();
