// Building blocks: elements, cleanup, numbers, the clipboard. Nothing here knows about triggers.

const ids = { stem: Math.random().toString(36).slice(2, 7), n: 0 };

// An id that no other view on the page has: one widget may be shown several times.
export function uid(name) {
  return `nbp-${name}-${ids.stem}-${++ids.n}`;
}

// h("button", { class: "x", onclick: f }, "text", child). Strings become text nodes, so a name from
// the data is never read as HTML.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) setAttribute(element, key, value);
  element.append(
    ...children.flat().filter(child => child !== null && child !== undefined && child !== false),
  );
  return element;
}

function setAttribute(element, key, value) {
  if (key.startsWith("on")) element[key] = value;
  else if (["value", "checked", "disabled", "hidden", "selected"].includes(key))
    element[key] = value;
  else if (value !== null && value !== undefined && value !== false)
    element.setAttribute(key, value);
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A text that a screen reader hears and nobody sees
export function spoken(text) {
  return h("span", { class: "nbp-spoken" }, text);
}

// Writing the same text again would make a live region repeat itself.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What has to be undone when a view goes away
export function makeLife() {
  const undo = [];
  return {
    add(fn) {
      undo.push(fn);
    },
    on(backend, names, fn) {
      for (const name of [names].flat()) undo.push(backend.on(name, fn));
    },
    listen(target, type, fn, options) {
      target.addEventListener(type, fn, options);
      undo.push(() => target.removeEventListener(type, fn, options));
    },
    end() {
      while (undo.length) undo.pop()();
    },
  };
}

// Run `fn` once before the next frame, however often it is asked for: several values often change
// together.
export function oncePerFrame(life, fn) {
  let asked = 0;
  life.add(() => cancelAnimationFrame(asked));
  return () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => fn());
  };
}

// Run `fn` when nothing was asked for `wait` milliseconds
export function debounced(life, wait, fn) {
  let timer = 0;
  life.add(() => clearTimeout(timer));
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...values), wait);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

// A screen that is touched: nothing can be pointed at without pressing it
export const touched = matchMedia("(hover: none)");

const wholeNumber = new Intl.NumberFormat("en");

export function whole(number) {
  return number === null || number === undefined ? "" : wholeNumber.format(number);
}

export function count(number, word, words = word + "s") {
  return `${whole(number)} ${number === 1 ? word : words}`;
}

export function percent(share) {
  return share === null || share === undefined
    ? ""
    : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

// Three significant digits, two of small numbers; tiny centralities stay readable
export function decimal(number) {
  if (number === null || number === undefined) return "";
  const size = Math.abs(number);
  if (!size || size >= 0.001) return Number(number.toPrecision(size < 0.01 ? 2 : 3)).toString();
  return number.toExponential(1);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // no permission, or a page that was not served over https or from this machine
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const back = document.activeElement;
  const area = h("textarea", { value: text, "aria-hidden": "true", class: "nbp-offscreen" });
  document.body.append(area);
  area.select();
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    /* the text stays on the page, to be selected by hand */
  }
  area.remove();
  if (back) back.focus({ preventScroll: true });
  return done;
}

// A button that copies what `text()` gives and says so
export function copyButton(text, what) {
  const label = h("span", {}, "Copy");
  const said = h("span", { class: "nbp-spoken", role: "status" });
  const button = h(
    "button",
    { type: "button", class: "nbp-button nbp-small" },
    label,
    spoken(` ${what}`),
  );
  button.onclick = async () => {
    const done = await copyText(text());
    setText(label, done ? "Copied" : "Select and copy");
    setText(
      said,
      done ? `${what} copied` : "The browser does not allow copying; select the text instead",
    );
    setTimeout(() => {
      setText(label, "Copy");
      setText(said, "");
    }, 1600);
  };
  return h("span", { class: "nbp-copy" }, button, said);
}
