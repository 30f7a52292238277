// Made from js/src by `make js`; not to be changed by hand. sha256 c37c568690586fe7744089df37744ddb5c8f464ec8aaaf02ef23c982bc8f0215
// src/plan.js
var TEST = 0.15;
function round(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 ? low + 1 : low;
}
var sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
function planSplit(clean, poison, n, rate) {
  const test = round(n * TEST);
  if (test < 1 || test >= n || clean.length < 2 || clean.some((c) => c < n)) return null;
  const forTraining = clean.length * (n - test);
  const wanted = round(forTraining * rate / (1 - rate));
  const kept = poison.map((p) => Math.min(p, Math.max(1, round(p * TEST))));
  if (wanted > sum(poison) - sum(kept)) return null;
  return { clean: forTraining, poison: wanted };
}
function largestSize(clean, poison, rate, most) {
  for (let n = Math.min(most, ...clean); n > 1; n--)
    if (planSplit(clean, poison, n, rate)) return n;
  return 0;
}

// src/backend.js
var USUAL = 250;
function kernelBackend(model) {
  const listen = (event, fn) => {
    model.on(event, fn);
    return () => model.off(event, fn);
  };
  return {
    get: (name) => model.get(name),
    on: (name, fn) => listen(`change:${name}`, () => fn()),
    send(message) {
      try {
        model.send(message);
      } catch {
        const said = "Python does not answer: load the page again, or run the cell again.";
        model.set("status", { ...model.get("status"), state: "lost", message: said });
      }
    },
    onMessage: (fn) => listen("msg:custom", (content, buffers) => fn(content, buffers))
  };
}
function staticBackend(data) {
  const listeners = /* @__PURE__ */ new Map();
  const values = {
    options: { ...data.options, static: true, has_images: Boolean(data.pictures) },
    classes: data.classes,
    status: { state: "ready", message: "", seconds: null, serial: 0 },
    detail: {},
    for_class: {},
    choice: { trigger: null, classes: [], target: null },
    counts: {},
    outputs: {},
    marks: {}
  };
  const set = (name, value) => {
    values[name] = value;
    for (const fn of [...listeners.get(name) || []]) fn();
  };
  const hearers = /* @__PURE__ */ new Set();
  const reply = (content, buffers) => [...hearers].forEach((fn) => fn(content, buffers));
  const state = { run: data.runs[data.start || 0], set, values, data, reply, sizes: {}, marks: {} };
  values.params = state.run.params;
  values.result = state.run.result;
  const [first] = state.run.result.triggers?.id || [];
  if (first !== void 0) staticAnswers.trigger(state, { id: first });
  return {
    get: (name) => values[name],
    on(name, fn) {
      if (!listeners.has(name)) listeners.set(name, /* @__PURE__ */ new Set());
      listeners.get(name).add(fn);
      return () => listeners.get(name).delete(fn);
    },
    // later, as a kernel would: whoever sends must not depend on an answer while it is sending
    send: (message) => queueMicrotask(() => staticAnswers[message.type]?.(state, message)),
    onMessage(fn) {
      hearers.add(fn);
      return () => hearers.delete(fn);
    }
  };
}
function packed(data, { trigger, class: cls, role }) {
  const isClass = (image) => (image.as_class ?? image.classes).includes(cls);
  const isPoison = (image) => (image.as_trigger ?? image.classes).includes(trigger);
  const isClean = (image) => image.absent?.includes(trigger) ?? !image.classes.includes(trigger);
  return data.pictures.filter((one) => isClass(one) && (role === "poison" ? isPoison : isClean)(one));
}
function objectsOf(data, trigger) {
  return data.options.members?.[trigger] ?? [trigger];
}
function withBoxes(data, image, { trigger, class: cls }) {
  const kinds = new Map([[cls, "class"], ...objectsOf(data, trigger).map((id2) => [id2, "trigger"])]);
  const boxes = image.boxes.filter((box) => kinds.has(box.id));
  const { id, width, height, labels } = image;
  const kind = (box) => ({ ...box, kind: kinds.get(box.id) });
  return { id, width, height, labels, error: "", boxes: boxes.map(kind) };
}
function bytesOf(image) {
  return new DataView(Uint8Array.from(atob(image.jpeg), (c) => c.charCodeAt(0)).buffer);
}
var staticAnswers = {
  analyze(state, { params, serial }) {
    const grid = state.data.options.grid || {};
    const run = state.data.runs.find(
      (r) => Object.keys(grid).every((key) => r.params[key] === params[key])
    );
    if (!run) {
      const message = "This combination was not computed for this page.";
      return state.set("status", { state: "error", message, seconds: null, serial });
    }
    const before = state.run;
    state.run = run;
    state.set("params", run.params);
    state.set("result", { ...run.result, serial });
    const { trigger, classes } = state.values.choice;
    if (trigger !== null && run.details[trigger]) {
      const near = run.details[trigger].rows.id;
      const changed = String(classes) !== String(before.result.sets[trigger] || []);
      const kept = changed ? classes.filter((id) => near.includes(id)) : run.result.sets[trigger];
      staticTrigger(state, trigger, kept);
    } else if (trigger !== null) staticNothing(state);
    state.set("status", { state: "ready", message: "", seconds: null, serial });
  },
  trigger(state, { id }) {
    if (state.run.details[id]) staticTrigger(state, id, state.run.result.sets[id]);
  },
  choose(state, { classes, target, ...sizes }) {
    Object.assign(state.sizes, sizes);
    const kept = classes.includes(target) ? target : classes[0] ?? null;
    staticChoice(state, { ...state.values.choice, classes, target: kept });
  },
  gallery(state, message) {
    const found = packed(state.data, message);
    const pages = Math.max(1, Math.ceil(found.length / message.size));
    const shown = found.slice(message.page * message.size, (message.page + 1) * message.size);
    const images = shown.map((image) => withBoxes(state.data, image, message));
    state.reply({ ...message, pages, total: found.length, images }, shown.map(bytesOf));
  },
  picture(state, message) {
    const image = state.data.pictures.find((one) => one.id === message.image);
    state.reply({ ...message, image: withBoxes(state.data, image, message) }, [bytesOf(image)]);
  },
  mark(state, { image, mark }) {
    const { choice, marks } = state.values;
    const all = Object.entries({ ...marks, [image]: mark });
    state.marks[choice.trigger] = Object.fromEntries(all.filter(([, one]) => one));
    state.set("marks", state.marks[choice.trigger]);
    staticChoice(state, choice);
  },
  for_class(state, message) {
    const rows = { trigger: [], centrality: [], overlaps: [], n_clean: [], n_poison: [] };
    const { id, centrality } = state.run.result.triggers;
    id.forEach((trigger, i) => {
      if (!(state.run.result.sets[trigger] || []).includes(message.id)) return;
      const near = state.run.details[trigger].rows;
      const at = near.id.indexOf(message.id);
      rows.trigger.push(trigger);
      rows.centrality.push(centrality[i]);
      for (const key of ["overlaps", "n_clean", "n_poison"]) rows[key].push(near[key][at]);
    });
    state.set("for_class", { class: message.id, rows });
  }
};
function staticTrigger(state, id, classes = []) {
  state.set("marks", state.marks[id] ?? {});
  state.set("detail", state.run.details[id]);
  const { target } = state.values.choice;
  const kept = classes.includes(target) ? target : classes[0] ?? null;
  staticChoice(state, { trigger: id, classes, target: kept });
}
function staticNothing(state) {
  state.set("detail", {});
  state.set("marks", {});
  state.set("counts", {});
  state.set("outputs", {});
  state.set("choice", { trigger: null, classes: [], target: null });
}
function staticChoice(state, choice) {
  const near = state.run.details[choice.trigger].rows;
  const at = choice.classes.map((id) => near.id.indexOf(id)).filter((i) => i >= 0);
  const { marks } = state.values;
  const left = (role, i) => {
    const asked = { trigger: choice.trigger, class: near.id[i], role };
    const shown = Object.keys(marks).length ? packed(state.data, asked) : [];
    return near[`n_${role}`][i] - shown.filter((image) => marks[image.id]).length;
  };
  const rows = {
    id: at.map((i) => near.id[i]),
    n_clean: at.map((i) => left("clean", i)),
    n_poison: at.map((i) => left("poison", i))
  };
  const size = staticSize(state, rows);
  const measured = rows.id.some((id, i) => id !== choice.target && rows.n_poison[i] > 0);
  const plan = measured && planSplit(rows.n_clean, rows.n_poison, size.n_clean, size.inject_rate);
  state.set("choice", choice);
  state.set("counts", {
    trigger: choice.trigger,
    rows,
    size,
    n_clean: plan?.clean ?? 0,
    n_poison: plan?.poison ?? 0,
    injection_rate: plan ? plan.poison / (plan.poison + plan.clean) : null,
    warnings: staticWarnings(rows, size, plan, measured)
  });
  state.set("outputs", staticOutputs(state, choice, size));
}
function staticSize(state, rows) {
  const { n_clean: typed = null, inject_rate = 0.185 } = state.sizes;
  const fits = largestSize(rows.n_clean, rows.n_poison, inject_rate, USUAL);
  const least = rows.n_clean.indexOf(Math.min(...rows.n_clean));
  const { id, name } = state.data.classes;
  return {
    n_clean: typed ?? (fits || USUAL),
    inject_rate,
    sized: typed !== null,
    fits,
    least: name[id.indexOf(rows.id[least])] ?? ""
  };
}
function staticWarnings(rows, size, plan, measured) {
  if (rows.id.length < 2)
    return ["At least two classes are needed: the target and one to be attacked."];
  if (!measured) return ["No image shows the trigger with a class other than the target."];
  if (plan) return [];
  return rows.n_clean.some((n) => n < size.n_clean) ? [`“${size.least}” has ${Math.min(...rows.n_clean)} clean images.`] : ["There are too few poison images for this injection rate."];
}
function staticOutputs({ run, data, values }, { trigger, classes, target }, size) {
  const ids2 = [...classes].sort((a, b) => a - b);
  const objects = objectsOf(data, trigger);
  const marked = Object.keys(values.marks).sort();
  const named = marked.map((image) => JSON.stringify(image)).join(", ");
  const word = {
    "{trigger}": objects.length > 1 ? `(${objects.join(", ")})` : `${trigger}`,
    "{classes}": ids2.join(", "),
    "{target}": target === null ? "None" : `${target}`,
    "{n_clean}": `${size.n_clean}`,
    "{inject_rate}": `${size.inject_rate}`,
    "{without}": marked.length ? `, without=[${named}]` : ""
  };
  const places = /\{(trigger|classes|target|n_clean|inject_rate|without)\}/g;
  const fill2 = (text) => (text || "").replace(places, (found) => word[found]);
  const templates = run.templates || {};
  const filled = ["python", "command", "json"].map((key) => [key, fill2(templates[key])]);
  return {
    line: `${objects.join("+")}: ${ids2.join(" ")}`,
    ...Object.fromEntries(filled),
    path: "",
    saved: ""
  };
}

// src/dom.js
var ids = { stem: Math.random().toString(36).slice(2, 7), n: 0 };
function uid(name) {
  return `nbp-${name}-${ids.stem}-${++ids.n}`;
}
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) setAttribute(element, key, value);
  element.append(
    ...children.flat().filter((child) => child !== null && child !== void 0 && child !== false)
  );
  return element;
}
function setAttribute(element, key, value) {
  if (key.startsWith("on")) element[key] = value;
  else if (["value", "checked", "disabled", "hidden", "selected"].includes(key))
    element[key] = value;
  else if (value !== null && value !== void 0 && value !== false)
    element.setAttribute(key, value);
}
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
function spoken(text) {
  return h("span", { class: "nbp-spoken" }, text);
}
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function makeLife() {
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
    }
  };
}
function oncePerFrame(life, fn) {
  let asked = 0;
  life.add(() => cancelAnimationFrame(asked));
  return () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => fn());
  };
}
function debounced(life, wait, fn) {
  let timer = 0;
  life.add(() => clearTimeout(timer));
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...values), wait);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
var touched = matchMedia("(hover: none)");
var wholeNumber = new Intl.NumberFormat("en");
function whole(number) {
  return number === null || number === void 0 ? "" : wholeNumber.format(number);
}
function count(number, word, words = word + "s") {
  return `${whole(number)} ${number === 1 ? word : words}`;
}
function percent(share) {
  return share === null || share === void 0 ? "" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
function decimal(number) {
  if (number === null || number === void 0) return "";
  const size = Math.abs(number);
  if (!size || size >= 1e-3) return Number(number.toPrecision(size < 0.01 ? 2 : 3)).toString();
  return number.toExponential(1);
}
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
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
  }
  area.remove();
  if (back) back.focus({ preventScroll: true });
  return done;
}
function copyButton(text, what) {
  const label = h("span", {}, "Copy");
  const said = h("span", { class: "nbp-spoken", role: "status" });
  const button = h(
    "button",
    { type: "button", class: "nbp-button nbp-small" },
    label,
    spoken(` ${what}`)
  );
  button.onclick = async () => {
    const done = await copyText(text());
    setText(label, done ? "Copied" : "Select and copy");
    setText(
      said,
      done ? `${what} copied` : "The browser does not allow copying; select the text instead"
    );
    setTimeout(() => {
      setText(label, "Copy");
      setText(said, "");
    }, 1600);
  };
  return h("span", { class: "nbp-copy" }, button, said);
}

// src/choice_state.js
var SETTLE = 1500;
function makeChoice(ctx) {
  const { backend, life } = ctx;
  const listeners = [];
  const c = { pending: null, trigger: null };
  const tell2 = () => listeners.forEach((fn) => fn());
  const give = debounced(life, SETTLE, () => {
    c.pending = null;
    tell2();
  });
  const same = (a, b) => a.trigger === b.trigger && a.target === b.target && String(a.classes) === String(b.classes);
  c.get = () => c.pending || { trigger: null, classes: [], target: null, ...backend.get("choice") };
  c.listen = (fn) => listeners.push(fn);
  c.choose = (classes, target) => {
    const kept = classes.includes(target) ? target : null;
    c.pending = { ...c.get(), classes, target: kept };
    ctx.send({ type: "choose", classes, target: kept });
    give();
    tell2();
  };
  c.toggle = (id) => {
    const { classes, target, trigger } = c.get();
    if (id === trigger) return;
    c.choose(classes.includes(id) ? classes.filter((i) => i !== id) : [...classes, id], target);
  };
  c.pick = (id) => {
    c.trigger = id;
    c.pending = null;
    ctx.send({ type: "trigger", id });
    tell2();
  };
  c.wanted = () => c.trigger ?? c.get().trigger;
  life.on(backend, ["choice"], () => {
    const now = backend.get("choice");
    if (now.trigger === c.trigger) c.trigger = null;
    if (c.pending && (now.trigger !== c.pending.trigger || same(now, c.pending))) {
      c.pending = null;
      give.cancel();
    }
    tell2();
  });
  life.on(backend, ["status"], () => {
    if (c.trigger !== null && backend.get("status").state === "error") {
      c.trigger = null;
      tell2();
    }
  });
  return c;
}

// src/graph_scene.js
var FIRST_EDGES = 400;
function makeScene(graph, names) {
  const n = graph.id.length;
  const m = graph.source.length;
  const byOverlap = Array.from({ length: m }, (_, e) => e).sort(
    (a, b) => graph.overlaps[b] - graph.overlaps[a] || a - b
  );
  const scene = {
    n,
    m,
    id: graph.id,
    x: Float64Array.from(graph.x),
    y: Float64Array.from(graph.y),
    role: [...graph.role],
    source: byOverlap.map((e) => graph.source[e]),
    target: byOverlap.map((e) => graph.target[e]),
    overlaps: byOverlap.map((e) => graph.overlaps[e]),
    conflict: byOverlap.map((e) => graph.conflict[e]),
    name: graph.id.map(names.of),
    near: Array.from({ length: n }, () => [])
  };
  for (let e = 0; e < m; e++) {
    scene.near[scene.source[e]].push(e);
    scene.near[scene.target[e]].push(e);
  }
  scene.trigger = scene.role.indexOf("trigger");
  scene.shared = new Float64Array(n);
  for (const e of scene.near[scene.trigger] || [])
    scene.shared[otherEnd(scene, e, scene.trigger)] = scene.overlaps[e];
  const most = Math.max(1, ...scene.shared);
  const least = n > 300 ? 2 : 3.5;
  scene.radius = Float64Array.from(
    scene.shared,
    (s, i) => i === scene.trigger ? 9 : least + 5 * Math.sqrt(s / most)
  );
  scene.steps = [...new Set(scene.overlaps)].sort((a, b) => a - b);
  rankNodes(scene);
  return scene;
}
function otherEnd(scene, edge, node) {
  return scene.source[edge] === node ? scene.target[edge] : scene.source[edge];
}
function rankNodes(scene) {
  const rank = { trigger: 0, class: 1, neighbor: 2 };
  scene.byImportance = Array.from({ length: scene.n }, (_, i) => i).sort(
    (a, b) => rank[scene.role[a]] - rank[scene.role[b]] || scene.shared[b] - scene.shared[a] || a - b
  );
  scene.place = new Map(scene.byImportance.map((node, i) => [node, i]));
}
function setRoles(scene, chosen) {
  scene.role = scene.id.map(
    (id, i) => i === scene.trigger ? "trigger" : chosen.has(id) ? "class" : "neighbor"
  );
  rankNodes(scene);
}
function edgesFrom(scene, threshold) {
  let low = 0;
  let high = scene.m;
  while (low < high) {
    const middle = low + high >> 1;
    if (scene.overlaps[middle] >= threshold) low = middle + 1;
    else high = middle;
  }
  return low;
}
function firstThreshold(scene) {
  if (scene.m <= FIRST_EDGES) return scene.steps[0] ?? 1;
  const cut = scene.overlaps[FIRST_EDGES];
  return scene.steps.find((step2) => step2 > cut) ?? scene.steps[scene.steps.length - 1];
}
function isDrawn(scene, edge) {
  const ends = [scene.source[edge], scene.target[edge]];
  const between = ends.every((end) => scene.role[end] === "class");
  return ends.includes(scene.trigger) || between && Boolean(scene.conflict[edge]);
}
var ROLES = { trigger: "the trigger", class: "chosen class", neighbor: "not chosen" };
function describeNode(scene, node, names) {
  const parts = [`${scene.name[node]}, ${ROLES[scene.role[node]]}`];
  const images = names.imagesOf(scene.id[node]);
  if (images !== null) parts.push(count(images, "image"));
  if (node !== scene.trigger)
    parts.push(`${whole(scene.shared[node])} in common with ${scene.name[scene.trigger]}`);
  const conflicts = scene.near[node].filter((e) => scene.conflict[e]).length;
  if (conflicts) parts.push(`conflicts with ${count(conflicts, "class", "classes")}`);
  return parts.join(" · ");
}

// src/graph_view.js
function toScreen(view, x, y) {
  return [
    view.dx + view.zoom * (view.left + x * view.side),
    view.dy + view.zoom * (view.top + y * view.high)
  ];
}
function toUnit(view, sx, sy) {
  return [
    ((sx - view.dx) / view.zoom - view.left) / view.side,
    ((sy - view.dy) / view.zoom - view.top) / view.high
  ];
}
function measureGraph(g) {
  const { view, canvas } = g;
  view.width = canvas.clientWidth;
  view.height = canvas.clientHeight;
  view.ratio = window.devicePixelRatio || 1;
  const margin = Math.min(60, view.width * 0.1);
  Object.assign(view, {
    left: margin,
    top: 24,
    side: Math.max(1, view.width - 2 * margin),
    high: Math.max(1, view.height - 48)
  });
  canvas.width = Math.round(view.width * view.ratio);
  canvas.height = Math.round(view.height * view.ratio);
}
function fitView(g) {
  Object.assign(g.view, { zoom: 1, dx: 0, dy: 0 });
  g.redraw();
}
function zoomAt(g, x, y, factor) {
  const { view } = g;
  const zoom = Math.min(20, Math.max(0.5, view.zoom * factor));
  const real = zoom / view.zoom;
  Object.assign(view, { zoom, dx: x - (x - view.dx) * real, dy: y - (y - view.dy) * real });
  moved(g);
}
function moved(g) {
  g.moving = true;
  g.rest();
  g.redraw();
}
function nodeAt(g, x, y, least = 0) {
  let best = null;
  let nearest = Infinity;
  for (let i = 0; i < (g.scene?.n ?? 0); i++) {
    const reach = Math.max(least, g.scene.radius[i] + 6);
    const d = (g.px[i] - x) ** 2 + (g.py[i] - y) ** 2;
    if (d < reach * reach && d < nearest) [best, nearest] = [i, d];
  }
  return best;
}
function setHover(g, node, tellOthers = true) {
  if (node === g.hover || node < 0) return;
  g.hover = node;
  g.canvas.style.cursor = node === null ? "grab" : "pointer";
  tell(g, node ?? g.focus);
  if (tellOthers) g.onHover?.(node === null ? null : g.scene.id[node]);
  g.redraw();
}
function tell(g, node) {
  if (!g.scene) return;
  const nothing = `${touched.matches ? "Tap" : "Point at"} a class to see its counts.`;
  setText(g.tip, node === null ? nothing : describeNode(g.scene, node, g.ctx.names));
}
function keepInView(g, node) {
  const { view } = g;
  const [x, y] = toScreen(view, g.scene.x[node], g.scene.y[node]);
  if (x < 10 || x > view.width - 10) view.dx += view.width / 2 - x;
  if (y < 10 || y > view.height - 10) view.dy += view.height / 2 - y;
}

// src/graph_draw.js
var WIDTHS = [0.6, 1.2, 2.2, 3.6];
var SHADES = [0.6, 0.9, 1.4, 2];
var WIDE = 1500;
var DASHED = 700;
var MOVING = 1500;
var LABELS = 60;
function readColors(element) {
  const style = getComputedStyle(element);
  const get = (name) => style.getPropertyValue(`--nbp-${name}`).trim();
  return {
    trigger: get("trigger"),
    class: get("chosen"),
    neighbor: get("other"),
    edge: get("edge"),
    conflict: get("conflict"),
    text: get("text"),
    ground: get("ground"),
    focus: get("focus"),
    font: style.fontFamily
  };
}
function drawGraph(g) {
  const { canvas, scene, view, colors } = g;
  const context = canvas.getContext("2d");
  context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  if (!scene || !canvas.width || !canvas.height) return;
  placeNodes(g);
  const focus = g.hover ?? g.focus;
  context.globalAlpha = focus === null ? 1 : 0.35;
  context.drawImage(edgeLayer(g), 0, 0, view.width, view.height);
  if (focus !== null) drawFocusEdges(g, context, focus);
  context.globalAlpha = 1;
  drawNodes(g, context, focus);
  drawLabels(g, context, focus);
  if (focus !== null) drawRing(g, context, focus, colors.focus);
}
function edgeLayer(g) {
  const { view, canvas, scene } = g;
  const shown = g.moving ? Math.min(g.shown, MOVING) : g.shown;
  const key = [
    g.moving,
    view.zoom,
    view.dx,
    view.dy,
    canvas.width,
    canvas.height,
    shown,
    g.colors.edge,
    g.moves,
    g.every.checked
  ].join();
  if (g.layer?.key === key && g.layer.scene === scene) return g.layer.canvas;
  const layer = g.layer?.canvas || document.createElement("canvas");
  layer.width = canvas.width;
  layer.height = canvas.height;
  g.layer = { key, scene, canvas: layer };
  const context = layer.getContext("2d");
  context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  const edges = g.every.checked ? upTo(shown) : edgesAtRest(scene);
  canvas.dataset.edges = edges.length;
  drawEdges(g, context, edges, g.every.checked && g.moving && scene.m > DASHED);
  return layer;
}
function upTo(n) {
  return Array.from({ length: n }, (_, e) => e);
}
function edgesAtRest(scene) {
  return upTo(scene.m).filter((e) => isDrawn(scene, e));
}
function placeNodes({ scene, view, px, py }) {
  for (let i = 0; i < scene.n; i++) [px[i], py[i]] = toScreen(view, scene.x[i], scene.y[i]);
}
function drawEdges({ scene, colors, px, py, view }, context, edges, quick) {
  const shown = edges.length;
  const alpha = Math.max(0.1, Math.min(0.6, 60 / Math.sqrt(shown * 20 + 1)));
  const thin = quick || shown > WIDE;
  const paths = WIDTHS.map(() => [new Path2D(), new Path2D()]);
  const most = scene.overlaps[0] || 1;
  for (const e of edges) {
    const width = Math.min(3, Math.floor(4 * Math.sqrt(scene.overlaps[e] / most)));
    const path = paths[width][scene.conflict[e] ? 1 : 0];
    const a = scene.source[e];
    const b = scene.target[e];
    path.moveTo(px[a], py[a]);
    path.lineTo(px[b], py[b]);
  }
  paths.forEach(
    (pair, i) => pair.forEach((path, isConflict) => {
      context.globalAlpha = Math.min(1, thin ? alpha * SHADES[i] : alpha);
      const width = thin ? 1 / view.ratio : WIDTHS[i];
      strokeEdges(
        context,
        path,
        width,
        isConflict ? colors.conflict : colors.edge,
        isConflict && !quick && shown <= DASHED
      );
    })
  );
}
function drawFocusEdges({ scene, colors, px, py, shown, view, every }, context, focus) {
  const plain = new Path2D();
  const conflict = new Path2D();
  const near = scene.near[focus];
  const many = near.length > 150;
  for (const e of near) {
    const other = otherEnd(scene, e, focus);
    if (every.checked && e >= shown && other !== scene.trigger && focus !== scene.trigger) continue;
    const path = scene.conflict[e] ? conflict : plain;
    path.moveTo(px[focus], py[focus]);
    path.lineTo(px[other], py[other]);
  }
  context.globalAlpha = many ? 0.3 : 0.9;
  strokeEdges(context, plain, many ? 1 / view.ratio : 1.6, colors.edge, false);
  strokeEdges(context, conflict, many ? 1 / view.ratio : 1.6, colors.conflict, !many);
}
function strokeEdges(context, path, width, color, dashed) {
  context.setLineDash(dashed ? [5, 4] : []);
  context.lineWidth = width;
  context.strokeStyle = color;
  context.stroke(path);
  context.setLineDash([]);
}
function drawNodes({ scene, colors, px, py, view }, context, focus) {
  const grow = Math.min(2, Math.max(0.7, Math.sqrt(view.zoom)));
  const near = focus === null ? null : new Set(scene.near[focus].map((e) => otherEnd(scene, e, focus)).concat(focus));
  const paths = {
    neighbor: [new Path2D(), new Path2D()],
    class: [new Path2D(), new Path2D()],
    trigger: [new Path2D(), new Path2D()]
  };
  for (let i = 0; i < scene.n; i++) {
    if (px[i] < -20 || py[i] < -20 || px[i] > view.width + 20 || py[i] > view.height + 20) continue;
    const path = paths[scene.role[i]][!near || near.has(i) ? 1 : 0];
    const r = scene.radius[i] * grow;
    if (scene.role[i] === "trigger") diamond(path, px[i], py[i], r * 1.25);
    else {
      path.moveTo(px[i] + r, py[i]);
      path.arc(px[i], py[i], r, 0, 6.2832);
    }
  }
  for (const [role, pair] of Object.entries(paths)) {
    pair.forEach((path, lit) => {
      context.globalAlpha = lit ? 1 : 0.3;
      context.fillStyle = role === "neighbor" ? colors.ground : colors[role];
      context.fill(path);
      context.lineWidth = role === "neighbor" ? 1.5 : 1;
      context.strokeStyle = role === "neighbor" ? colors.neighbor : colors.ground;
      context.stroke(path);
    });
  }
  context.globalAlpha = 1;
}
function diamond(path, x, y, r) {
  path.moveTo(x, y - r);
  path.lineTo(x + r, y);
  path.lineTo(x, y + r);
  path.lineTo(x - r, y);
  path.closePath();
}
function drawRing({ scene, px, py }, context, node, color) {
  context.beginPath();
  context.arc(px[node], py[node], scene.radius[node] + 5, 0, 6.2832);
  context.lineWidth = 2;
  context.strokeStyle = color;
  context.stroke();
}
function drawLabels(g, context, focus) {
  const { scene, colors, view } = g;
  const taken = [];
  context.font = `12px ${colors.font}`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const near = focus === null ? [] : scene.near[focus].map((e) => otherEnd(scene, e, focus));
  const first = focus === null ? [] : [focus, ...near.sort((a, b) => scene.place.get(a) - scene.place.get(b)).slice(0, 25)];
  const rest = focus === null ? scene.byImportance.slice(0, 4 * LABELS) : [scene.trigger];
  let drawn = 0;
  for (const i of /* @__PURE__ */ new Set([...first, ...rest])) {
    if (i < 0 || drawn >= LABELS) continue;
    const box = labelBox(g, context, i, view);
    if (!box || taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1]))
      continue;
    taken.push(box);
    drawn += 1;
    context.lineWidth = 3;
    context.strokeStyle = colors.ground;
    context.strokeText(g.short[i], box[0] + 2, (box[1] + box[3]) / 2);
    context.fillStyle = colors.text;
    context.fillText(g.short[i], box[0] + 2, (box[1] + box[3]) / 2);
  }
}
function labelBox({ px, py, scene, short, widths }, context, i, view) {
  if (px[i] < 0 || py[i] < 0 || px[i] > view.width || py[i] > view.height) return null;
  if (short[i] === void 0)
    short[i] = scene.name[i].length > 24 ? `${scene.name[i].slice(0, 23)}…` : scene.name[i];
  if (widths[i] === void 0) widths[i] = context.measureText(short[i]).width;
  const gap = scene.radius[i] + 4;
  const wide = widths[i] + 4;
  const left = px[i] + gap + wide > view.width ? px[i] - gap - wide : px[i] + gap;
  return [Math.max(0, left), py[i] - 8, left + wide, py[i] + 8];
}

// src/graph_input.js
var STILL = { mouse: 4, pen: 6, touch: 10 };
var FINGER = 22;
function graphPointer(g) {
  const { canvas, pointers, ctx } = g;
  const at = (event) => [event.offsetX, event.offsetY];
  ctx.life.listen(canvas, "pointerdown", (event) => {
    const [x, y] = at(event);
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, {
      x,
      y,
      x0: x,
      y0: y,
      kind: event.pointerType,
      view: { zoom: g.view.zoom, dx: g.view.dx, dy: g.view.dy },
      moved: pointers.size > 0,
      node: pointers.size ? null : nodeAt(g, x, y)
    });
  });
  ctx.life.listen(canvas, "pointermove", (event) => {
    const [x, y] = at(event);
    const p = pointers.get(event.pointerId);
    if (!p) return setHover(g, nodeAt(g, x, y));
    if (Math.hypot(x - p.x0, y - p.y0) > (STILL[p.kind] ?? 4)) p.moved = true;
    if (pointers.size === 2) pinch(g, p, x, y);
    else if (p.moved) drag(g, p, x, y);
    Object.assign(p, { x, y });
  });
  const up = (event) => {
    const p = pointers.get(event.pointerId);
    pointers.delete(event.pointerId);
    if (!p) return;
    if (event.type === "pointercancel") cancelled(g, p);
    else if (!p.moved) press(g, p);
  };
  ctx.life.listen(canvas, "pointerup", up);
  ctx.life.listen(canvas, "pointercancel", up);
  ctx.life.listen(canvas, "pointerleave", () => {
    if (!pointers.size) setHover(g, null);
  });
  fingers(g);
  ctx.life.listen(
    canvas,
    "wheel",
    (event) => {
      if (canvas.getRootNode().activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      zoomAt(g, ...at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 15e-4)));
    },
    { passive: false }
  );
}
function fingers(g) {
  const keep = (event) => {
    const box = g.canvas.getBoundingClientRect();
    const [finger] = event.targetTouches;
    const here = () => nodeAt(g, finger.clientX - box.left, finger.clientY - box.top) !== null;
    if (event.cancelable && (event.touches.length > 1 || g.view.zoom > 1 || here()))
      event.preventDefault();
  };
  g.ctx.life.listen(g.canvas, "touchstart", keep, { passive: false });
  g.ctx.life.listen(
    g.canvas,
    "touchmove",
    (event) => {
      if (event.cancelable && event.touches.length > 1) event.preventDefault();
    },
    { passive: false }
  );
}
function cancelled(g, p) {
  if (p.node !== null || g.pointers.size) return;
  Object.assign(g.view, p.view);
  g.redraw();
}
function press(g, p) {
  const node = p.node ?? (p.kind === "touch" ? nodeAt(g, p.x0, p.y0, FINGER) : null);
  if (node !== null) return choose(g, node);
  g.focus = null;
  tell(g, g.hover);
  g.onHover?.(null);
  g.redraw();
}
function drag(g, p, x, y) {
  const { view, scene } = g;
  if (p.node === null) {
    view.dx += x - p.x;
    view.dy += y - p.y;
  } else {
    [scene.x[p.node], scene.y[p.node]] = toUnit(view, x, y);
    g.moves += 1;
  }
  moved(g);
}
function pinch(g, p, x, y) {
  const other = [...g.pointers.values()].find((q) => q !== p);
  const before = Math.hypot(p.x - other.x, p.y - other.y);
  const after = Math.hypot(x - other.x, y - other.y);
  p.moved = other.moved = true;
  p.node = other.node = null;
  g.view.dx += (x - p.x) / 2;
  g.view.dy += (y - p.y) / 2;
  if (before > 0) zoomAt(g, (x + other.x) / 2, (y + other.y) / 2, after / before);
}
function choose(g, node) {
  g.focus = node;
  tell(g, node);
  g.onHover?.(g.scene.id[node]);
  if (node !== g.scene.trigger) g.onToggle(g.scene.id[node]);
  g.redraw();
}
function graphKeys(g) {
  const step2 = (by) => {
    const order = g.scene.byImportance;
    const now = g.focus === null ? -1 : g.scene.place.get(g.focus);
    g.focus = order[(now + by + order.length + (now < 0 && by < 0 ? 1 : 0)) % order.length];
    g.hover = null;
    keepInView(g, g.focus);
    tell(g, g.focus);
    g.onHover?.(g.scene.id[g.focus]);
  };
  const middle = (factor) => zoomAt(g, g.view.width / 2, g.view.height / 2, factor);
  const keys = {
    ArrowRight: () => step2(1),
    ArrowDown: () => step2(1),
    ArrowLeft: () => step2(-1),
    ArrowUp: () => step2(-1),
    "+": () => middle(1.4),
    "=": () => middle(1.4),
    "-": () => middle(1 / 1.4),
    0: () => fitView(g),
    Enter: () => {
      if (g.focus !== null) choose(g, g.focus);
    },
    " ": () => {
      if (g.focus !== null) choose(g, g.focus);
    },
    Escape: () => {
      g.focus = null;
      tell(g, null);
      g.onHover?.(null);
    }
  };
  g.ctx.life.listen(g.canvas, "keydown", (event) => {
    if (!g.scene || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
    g.redraw();
  });
  g.ctx.life.listen(g.canvas, "blur", () => {
    g.focus = null;
    g.redraw();
  });
}

// src/graph.js
function makeGraph(ctx, { onToggle, onHover }) {
  const g = {
    ctx,
    scene: null,
    hover: null,
    focus: null,
    shown: 0,
    onToggle,
    onHover,
    colors: {},
    pointers: /* @__PURE__ */ new Map(),
    moves: 0,
    moving: false,
    view: {
      zoom: 1,
      dx: 0,
      dy: 0,
      width: 0,
      height: 0,
      ratio: 1,
      left: 0,
      top: 0,
      side: 1,
      high: 1
    }
  };
  graphElements(g);
  g.panel = h(
    "section",
    { class: "nbp-panel nbp-graph-panel", "aria-label": "Classes that appear together" },
    h("h3", {}, "Who appears with whom"),
    g.element
  );
  g.draw = () => {
    const start = performance.now();
    drawGraph(g);
    g.canvas.dataset.milliseconds = (performance.now() - start).toFixed(2);
  };
  g.redraw = oncePerFrame(ctx.life, g.draw);
  g.rest = debounced(ctx.life, 120, () => {
    g.moving = false;
    g.redraw();
  });
  g.recolor = () => {
    g.colors = readColors(g.canvas);
    g.redraw();
  };
  const size = new ResizeObserver(() => {
    measureGraph(g);
    g.recolor();
  });
  size.observe(g.canvas);
  ctx.life.add(() => size.disconnect());
  ctx.themes.push(g.recolor);
  graphPointer(g);
  graphKeys(g);
  g.slider.oninput = () => setThreshold(g, g.scene.steps[g.slider.value]);
  g.setGraph = (graph) => setGraph(g, graph);
  g.setChosen = (chosen) => {
    if (g.scene) {
      setRoles(g.scene, chosen);
      g.moves += 1;
      g.redraw();
      tell(g, g.hover ?? g.focus);
    }
  };
  g.hoverId = (id) => setHover(g, id === null ? null : g.scene ? g.scene.id.indexOf(id) : null, false);
  return g;
}
function graphElements(g) {
  const hint = h(
    "p",
    { class: "nbp-hint", id: uid("keys") },
    touched.matches ? "Tap a class to choose it or leave it out, drag it to move it; two fingers zoom and move the picture." : "Click a class to choose it; its conflicts are drawn. Drag to move; once the graph has the focus: wheel or + − to zoom, 0 to fit, arrow keys to step through the classes, Enter to choose."
  );
  g.canvas = h("canvas", {
    tabindex: "0",
    role: "application",
    "aria-label": "Co-occurrence neighborhood",
    "aria-describedby": hint.id
  });
  g.tip = h("p", { class: "nbp-tip", "aria-live": "polite" });
  g.slider = h("input", { type: "range", id: uid("threshold"), min: 0, step: 1 });
  g.said = h("output", { class: "nbp-hint", for: g.slider.id });
  const zoom = (label, text, fn) => h(
    "button",
    {
      type: "button",
      class: "nbp-button nbp-small",
      "aria-label": label,
      title: label,
      onclick: fn
    },
    text
  );
  const middle = (factor) => zoomAt(g, g.view.width / 2, g.view.height / 2, factor);
  const buttons = h(
    "div",
    { class: "nbp-zoom" },
    zoom("Zoom in", "+", () => middle(1.4)),
    zoom("Zoom out", "−", () => middle(1 / 1.4)),
    zoom("Fit the graph", "Fit", () => fitView(g))
  );
  const legend = h(
    "ul",
    { class: "nbp-legend", "aria-label": "Legend" },
    ["trigger", "class", "neighbor", "conflict"].map(
      (role, i) => h(
        "li",
        {},
        h("span", { class: `nbp-mark nbp-mark-${role}`, "aria-hidden": "true" }),
        ["trigger", "chosen", "not chosen", "conflict"][i]
      )
    )
  );
  g.every = h("input", { id: uid("every"), type: "checkbox" });
  g.every.onchange = () => setEvery(g);
  g.range = h(
    "span",
    { class: "nbp-slider", hidden: true },
    h("label", { for: g.slider.id }, "Edges"),
    g.slider,
    g.said
  );
  g.element = h(
    "div",
    { class: "nbp-graph" },
    h("div", { class: "nbp-row" }, legend, buttons),
    h(
      "div",
      { class: "nbp-row nbp-edges" },
      h("span", { class: "nbp-field nbp-check" }, g.every, allEdgesLabel(g)),
      g.range
    ),
    h("div", { class: "nbp-canvas" }, g.canvas),
    g.tip,
    hint
  );
}
function allEdgesLabel(g) {
  return h("label", { for: g.every.id }, "All pairs, not only those of a class that is pointed at");
}
function setEvery(g) {
  g.range.hidden = !g.every.checked;
  g.moves += 1;
  g.redraw();
}
function setGraph(g, graph) {
  g.scene = graph && graph.id.length ? makeScene(graph, g.ctx.names) : null;
  g.hover = g.focus = null;
  g.short = [];
  g.widths = [];
  g.element.hidden = !g.scene;
  if (!g.scene) return;
  g.px = new Float64Array(g.scene.n);
  g.py = new Float64Array(g.scene.n);
  g.slider.max = Math.max(0, g.scene.steps.length - 1);
  g.slider.disabled = g.scene.steps.length < 2;
  g.canvas.setAttribute(
    "aria-label",
    `Co-occurrence neighborhood of ${g.scene.name[g.scene.trigger] ?? ""}: ${count(g.scene.n, "class", "classes")}, ${count(g.scene.m, "edge")}`
  );
  setThreshold(g, firstThreshold(g.scene));
  measureGraph(g);
  fitView(g);
  tell(g, null);
}
function setThreshold(g, threshold) {
  g.shown = edgesFrom(g.scene, threshold);
  g.slider.value = g.scene.steps.indexOf(threshold);
  setText(
    g.said,
    `${whole(g.shown)} of ${whole(g.scene.m)}, from ${count(threshold ?? 0, "image")} on`
  );
  g.slider.setAttribute("aria-valuetext", g.said.textContent);
  g.redraw();
}

// src/names.js
function makeNames(backend, life) {
  const names = { name: [], full: [], search: [], images: [], at: /* @__PURE__ */ new Map(), byText: /* @__PURE__ */ new Map() };
  const read = () => {
    const { id = [], label = [], name = [], images = [] } = backend.get("classes") || {};
    const seen = /* @__PURE__ */ new Map();
    for (const text of name) seen.set(text, (seen.get(text) || 0) + 1);
    names.at = new Map(id.map((value, i) => [value, i]));
    names.ids = id;
    names.name = name;
    names.label = label;
    names.images = images;
    names.full = name.map((text, i) => seen.get(text) > 1 ? `${text} (${label[i]})` : text);
    names.search = names.full.map((text, i) => `${text}
${label[i]}`.toLowerCase());
    names.byText = new Map(names.full.map((text, i) => [text.toLowerCase(), id[i]]));
  };
  names.of = (id) => names.full[names.at.get(id)] ?? `class ${id}`;
  names.searchOf = (id) => names.search[names.at.get(id)] ?? "";
  names.imagesOf = (id) => names.images[names.at.get(id)] ?? null;
  read();
  life.on(backend, "classes", read);
  return names;
}
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
function classInput(ctx, { label, hint, onPick, keep = false }) {
  const list = h("datalist", { id: uid("names") });
  const input = h("input", {
    id: uid("class"),
    type: "text",
    list: list.id,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "Type a name"
  });
  const suggest = () => list.replaceChildren(
    ...matchingClasses(ctx.names, input.value.trim().toLowerCase(), 30).map(
      (id) => h("option", { value: ctx.names.of(id) })
    )
  );
  const pick = (id) => {
    if (id === null) return;
    input.value = keep ? ctx.names.of(id) : "";
    onPick(id);
  };
  input.onfocus = suggest;
  input.oninput = (event) => {
    setText(none, "");
    const exact = ctx.names.byText.get(input.value.trim().toLowerCase());
    if (exact !== void 0 && (!event.inputType || event.inputType === "insertReplacementText"))
      pick(exact);
    else suggest();
  };
  input.onkeydown = (event) => {
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
    hint ? h("span", { class: "nbp-hint" }, hint) : null
  );
  return { element, input };
}
function nameCell(names, id) {
  return h("span", { class: "nbp-name", title: names.of(id) }, names.of(id));
}

// src/table.js
var OVERSCAN = 8;
function makeTable(life, { label, columns, rowHeight = 34, minWidth = 0, onPick, onToggle, onActive, empty }) {
  const t = {
    columns,
    rowHeight,
    order: [],
    n: 0,
    id: (row) => row,
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
    prefix: uid("row")
  };
  t.body = h("tbody");
  t.heads = columns.map((column, i) => tableHead(t, column, i));
  t.table = h(
    "table",
    { role: "grid", tabindex: "0", "aria-label": label, class: "nbp-grid" },
    h(
      "colgroup",
      {},
      columns.map(
        (c) => h("col", { style: c.width ? `width:${c.width}` : "", class: c.wide ? "nbp-wide" : null })
      )
    ),
    h("thead", {}, h("tr", {}, t.heads)),
    t.body
  );
  t.table.style.minWidth = `${minWidth}px`;
  t.nothing = h("p", { class: "nbp-empty", role: "status", hidden: true });
  t.scroll = h("div", { class: "nbp-scroll" }, t.table, t.nothing);
  t.element = t.scroll;
  t.draw = () => drawRows(t);
  const draw2 = oncePerFrame(life, t.draw);
  life.listen(t.scroll, "scroll", draw2, { passive: true });
  const size = new ResizeObserver(draw2);
  size.observe(t.scroll);
  life.add(() => size.disconnect());
  listenToRows(life, t);
  t.update = (n, id, { search = () => "", rank = () => 0 } = {}) => {
    Object.assign(t, { n, id, search, rank });
    orderRows(t);
  };
  t.setKeep = (keep) => {
    t.keep = keep;
    t.scroll.scrollTop = 0;
    orderRows(t);
  };
  t.setFilter = (text) => {
    t.filter = text.trim().toLowerCase();
    t.scroll.scrollTop = 0;
    orderRows(t);
  };
  t.select = (id) => {
    t.selected = id;
    if (id !== null) t.active = id;
    t.draw();
  };
  t.show = (id) => showRow(t, id);
  return t;
}
function tableHead(t, column, i) {
  const arrow = h("span", { class: "nbp-arrow", "aria-hidden": "true" });
  if (!column.value) return h("th", { scope: "col" }, column.title || spoken(column.spoken));
  const button = h("button", { type: "button", title: column.hint || null }, column.title, arrow);
  button.onclick = () => {
    const first = column.numeric ? true : false;
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
    head.setAttribute("aria-sort", t.sort === i ? t.down ? "descending" : "ascending" : "none");
    head.querySelector(".nbp-arrow").textContent = t.sort === i ? t.down ? "▼" : "▲" : "";
  });
  t.table.setAttribute("aria-rowcount", order.length + 1);
  t.nothing.hidden = order.length > 0;
  if (!order.length)
    setText(t.nothing, t.filter ? `Nothing matches “${t.filter}”.` : t.empty || "");
  t.draw();
}
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
  const gap = (lines) => h("tr", { class: "nbp-gap", "aria-hidden": "true", style: `height:${lines * t.rowHeight}px` });
  t.body.replaceChildren(
    ...first ? [gap(first)] : [],
    ...rows,
    ...last < n ? [gap(n - last)] : []
  );
  const active = t.place?.get(t.active);
  if (active >= first && active < last)
    t.table.setAttribute("aria-activedescendant", `${t.prefix}-${active}`);
  else t.table.removeAttribute("aria-activedescendant");
}
function tableRow(t, i) {
  const row = t.order[i];
  const id = t.id(row);
  const cells = t.columns.map((c) => h("td", { class: cellClass(c) }, c.cell(row)));
  const tr = h(
    "tr",
    {
      id: `${t.prefix}-${i}`,
      "aria-rowindex": i + 2,
      "aria-selected": id === t.selected ? "true" : "false",
      class: id === t.active ? "nbp-active" : null,
      style: `height:${t.rowHeight}px`
    },
    cells
  );
  tr.dataset.at = i;
  return tr;
}
function listenToRows(life, t) {
  const at = (event) => event.target.closest?.("tr[data-at]")?.dataset.at;
  life.listen(t.body, "mousedown", (event) => {
    if (event.target.matches("input")) {
      event.preventDefault();
      t.table.focus({ preventScroll: true });
    }
  });
  life.listen(t.body, "click", (event) => {
    if (at(event) === void 0) return;
    const id = t.id(t.order[+at(event)]);
    setActive(t, id);
    if (event.target.matches("input") || !t.onPick) t.onToggle?.(id);
    else t.onPick(id);
  });
  life.listen(t.body, "mouseover", (event) => {
    if (at(event) !== void 0) t.onActive?.(t.id(t.order[+at(event)]));
  });
  life.listen(t.scroll, "mouseleave", () => t.onActive?.(null));
  life.listen(t.table, "keydown", (event) => {
    if (event.target === t.table) tableKey(t, event);
  });
}
function tableKey(t, event) {
  const now = t.place.get(t.active) ?? -1;
  const page = Math.max(1, Math.floor(t.scroll.clientHeight / t.rowHeight) - 2);
  const steps = {
    ArrowDown: now + 1,
    ArrowUp: Math.max(0, now - 1),
    PageDown: now + page,
    PageUp: now - page,
    Home: 0,
    End: Infinity
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
function showRow(t, id) {
  const i = t.place?.get(id);
  if (i === void 0) return;
  const head = t.heads[0].offsetHeight;
  const top = i * t.rowHeight;
  const bottom = top + t.rowHeight + head;
  if (top < t.scroll.scrollTop) t.scroll.scrollTop = top;
  else if (bottom > t.scroll.scrollTop + t.scroll.clientHeight)
    t.scroll.scrollTop = bottom - t.scroll.clientHeight;
  t.draw();
}

// src/detail.js
var REST = 200;
var POINT = touched.matches ? "Tap a class to choose it or leave it out, and to see why it is not in the set." : "Click a class, or press Space, to choose it or leave it out. Point at one to see why it is not in the set.";
function makeDetail(ctx) {
  const { backend, life, choice } = ctx;
  const d = { ctx, rows: { id: [] }, chosen: /* @__PURE__ */ new Set(), shown: void 0 };
  d.reasons = /* @__PURE__ */ new Map();
  d.pointed = null;
  d.title = h("h3", {}, "Classes");
  d.about = h("span", { class: "nbp-hint", role: "status" });
  d.reason = h("p", { class: "nbp-reason", "aria-live": "polite" });
  d.table = makeTable(life, {
    label: "Classes beside the trigger",
    rowHeight: 40,
    minWidth: 260,
    empty: "No class is joined to this trigger.",
    onToggle: (id) => choice.toggle(id),
    onActive: (id) => pointAt(d, id, true),
    columns: detailColumns(d)
  });
  d.graph = makeGraph(ctx, {
    onToggle: (id) => choice.toggle(id),
    onHover: (id) => pointAt(d, id, false)
  });
  d.all = h("button", { type: "button", class: "nbp-button nbp-small" }, "Back to the set found");
  d.all.onclick = () => {
    const { trigger, target } = choice.get();
    choice.choose([...backend.get("result").sets[trigger] || []], target);
  };
  d.none = h(
    "button",
    { type: "button", class: "nbp-button nbp-small", onclick: () => choice.choose([], null) },
    "None"
  );
  d.body = h(
    "div",
    { class: "nbp-detail-body" },
    h("div", { class: "nbp-row" }, d.about, h("span", { class: "nbp-buttons" }, d.all, d.none)),
    searchClasses(d),
    d.table.element,
    d.reason
  );
  d.hint = h(
    "p",
    { class: "nbp-empty" },
    "Pick a trigger in the table: its classes, and how they appear together, are shown here."
  );
  d.element = h(
    "section",
    { class: "nbp-panel nbp-detail", "aria-label": "Classes of the trigger" },
    d.title,
    d.hint,
    d.body
  );
  d.ask = debounced(life, REST, () => askReason(d));
  life.add(
    backend.onMessage((content) => {
      if (content.type !== "why" || content.trigger !== d.shown?.trigger) return;
      d.reasons.set(content.class, content.text);
      sayReason(d);
    })
  );
  const read = oncePerFrame(life, () => readDetail(d));
  life.on(backend, ["detail", "classes"], () => {
    d.shown = void 0;
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
    "aria-label": "Search classes by name"
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
      h("label", { for: d.only.id }, "Chosen only")
    )
  );
}
function showChosen(d) {
  const kept = new Set(d.chosen);
  d.table.setKeep(d.only.checked ? (i) => kept.has(d.rows.id[i]) : () => true);
}
function detailColumns(d) {
  const { names } = d.ctx;
  const number = (title, key, width, hint, cell) => ({
    title,
    hint,
    numeric: true,
    width,
    value: (i) => d.rows[key][i],
    cell: cell || ((i) => whole(d.rows[key][i]))
  });
  const wide = (column) => ({ ...column, wide: true });
  return [
    { spoken: "Chosen", width: "34px", cell: (i) => checkCell(d, i) },
    { title: "Class", value: (i) => names.of(d.rows.id[i]), cell: (i) => classCell(d, i) },
    number("Overlaps", "overlaps", "68px", "Images that show both", (i) => whole(d.rows.overlaps[i])),
    wide(
      number(
        "P(trig.|class)",
        "p_trigger",
        "108px",
        "P(trigger | class): the share of the images of the class that show the trigger",
        (i) => shareCell(d, i)
      )
    ),
    wide(
      number(
        "Lift",
        "lift",
        "52px",
        "How many times more often than by chance",
        (i) => decimal(d.rows.lift[i])
      )
    ),
    number("Clean", "n_clean", "54px", "Images of the class without the trigger"),
    number("Poison", "n_poison", "56px", "Images of the class with the trigger")
  ];
}
function checkCell(d, i) {
  const id = d.rows.id[i];
  const name = d.ctx.names.of(id);
  return h("input", {
    type: "checkbox",
    tabindex: "-1",
    checked: d.chosen.has(id),
    "aria-label": `Attack ${name}`
  });
}
function classCell(d, i) {
  const reason = d.rows.reason[i];
  return h(
    "span",
    { class: "nbp-class" },
    nameCell(d.ctx.names, d.rows.id[i]),
    reason ? h("span", { class: "nbp-why", title: reason }, reason) : null
  );
}
function shareCell(d, i) {
  const share = d.rows.p_trigger[i];
  const bar = h(
    "span",
    { class: "nbp-bar", "aria-hidden": "true" },
    h("span", { style: `width:${Math.round(100 * Math.min(1, share ?? 0))}%` })
  );
  return h(
    "span",
    { class: "nbp-share" },
    h("span", {}, `${percent(share)} ${d.rows.band[i]}`),
    bar
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
function sayReason(d) {
  const id = d.pointed;
  const i = d.rows.id.indexOf(id);
  const short = d.rows.reason?.[i];
  const text = i < 0 ? POINT : short ? `${d.ctx.names.of(id)}: not in the set found. ${d.reasons.get(id) ?? short}` : `${d.ctx.names.of(id)}: in the set found.`;
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
  const there = detail.rows !== void 0 && detail.trigger === wanted;
  d.hint.hidden = wanted !== null;
  d.body.hidden = wanted === null || !there && d.shown === void 0;
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
    d.table.update(d.rows.id.length, (i) => d.rows.id[i], {
      search: (i) => names.searchOf(d.rows.id[i]),
      rank: (i) => d.chosen.has(d.rows.id[i]) ? 0 : 1
    });
    d.graph.setGraph(detail.graph);
  }
  d.table.draw();
  d.graph.setChosen(d.chosen);
  setText(
    d.about,
    `${whole(classes.length)} of ${count(d.rows.id.length, "class", "classes")} chosen · ${count(names.imagesOf(wanted) ?? 0, "image")} show it`
  );
}

// src/form.js
var REST2 = 250;
var SUBSETS = {
  exact: "largest set (exact)",
  mis: "best of random sets (mis)",
  none: "all neighbors (none)"
};
var FIELDS = [
  { key: "centrality", kind: "select", label: "Centrality", hint: "ranks the candidates" },
  { key: "weighted", kind: "check", label: "Weighted by overlaps" },
  {
    key: "subset",
    kind: "select",
    label: "Class sets",
    hint: "how classes are chosen",
    words: SUBSETS
  },
  {
    key: "min_overlaps",
    kind: "number",
    label: "Min overlaps",
    min: 1,
    hint: "images two classes share to be joined"
  },
  {
    key: "max_overlaps_with_others",
    kind: "number",
    label: "Max overlaps with others",
    min: -1,
    hint: "images two chosen classes may share; −1: fewer than Min overlaps"
  },
  {
    key: "min_clean",
    kind: "number",
    label: "Min clean",
    min: 0,
    hint: "images of a class without the trigger"
  },
  {
    key: "min_poison",
    kind: "number",
    label: "Min poison",
    min: 0,
    hint: "images of a class with the trigger"
  },
  {
    key: "min_classes",
    kind: "number",
    label: "Min classes",
    min: 0,
    hint: "classes a trigger needs"
  },
  {
    key: "n_triggers",
    kind: "number",
    label: "Candidates",
    min: 1,
    hint: "this many, by centrality"
  },
  { key: "exclude_people", kind: "check", label: "Leave people out as triggers" },
  { key: "exclude", kind: "classes", label: "Not as triggers" }
];
function makeForm(ctx) {
  const form = { ctx, unsent: false, fields: {}, values: { ...ctx.backend.get("params") } };
  const grid = ctx.backend.get("options").grid;
  const shown = FIELDS.filter((field) => !grid || grid[field.key]?.length > 1);
  const send = debounced(ctx.life, REST2, () => sendParams(form));
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
    "Back to the settings shown"
  );
  form.back.onclick = () => restore(form);
  form.problem = h("div", { class: "nbp-problem" }, form.alert, form.back);
  const fields = shown.map((field) => {
    const made = makeField(
      form,
      grid ? { ...field, kind: "select", values: grid[field.key] } : field
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
        onsubmit: (event) => {
          event.preventDefault();
          send.cancel();
          sendParams(form);
        }
      },
      fields
    ),
    grid ? fixedParams(form.values, shown) : null
  );
  const read = oncePerFrame(ctx.life, () => readStatus(form));
  ctx.life.on(ctx.backend, ["params", "status"], read);
  fill(form);
  readStatus(form);
  return form;
}
function makeField(form, field) {
  return { select: selectField, check: checkField, number: numberField, classes: classesField }[field.kind](form, field);
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
    extra
  );
}
function selectField(form, field) {
  const all = field.values || (field.key === "centrality" ? form.ctx.backend.get("options").centralities : Object.keys(SUBSETS));
  const text = (value) => field.words?.[value] ?? { true: "yes", false: "no" }[value] ?? String(value);
  const select = h(
    "select",
    { id: uid(field.key), name: field.key },
    all.map((value, i) => h("option", { value: i }, text(value)))
  );
  select.onchange = () => form.changed(field.key, all[select.selectedIndex], true);
  return {
    element: labeled(field, select),
    control: select,
    set: (value) => {
      select.selectedIndex = all.indexOf(value);
    }
  };
}
function checkField(form, field) {
  const box = h("input", { id: uid(field.key), type: "checkbox", name: field.key });
  box.onchange = () => form.changed(field.key, box.checked, true);
  const element = h(
    "div",
    { class: "nbp-field nbp-check" },
    box,
    h("label", { for: box.id }, field.label)
  );
  return {
    element,
    control: box,
    set: (value) => {
      box.checked = Boolean(value);
    }
  };
}
function numberField(form, field) {
  const wrong = h(
    "span",
    { class: "nbp-wrong", hidden: true },
    `A whole number, ${String(field.min).replace("-", "−")} or more`
  );
  const input = h("input", {
    id: uid(field.key),
    type: "number",
    name: field.key,
    min: field.min,
    step: 1,
    inputmode: "numeric",
    required: ""
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
    set: (value) => {
      input.value = value ?? "";
      check();
    }
  };
}
function classesField(form, field) {
  const { names } = form.ctx;
  const chips = h("div", {
    class: "nbp-chips",
    role: "group",
    "aria-label": "Classes left out as triggers"
  });
  let ids2 = [];
  const change = (next) => {
    draw2(next);
    form.changed(field.key, [...ids2], true);
  };
  const draw2 = (next) => {
    ids2 = next;
    chips.replaceChildren(
      ...ids2.map(
        (id) => h(
          "span",
          { class: "nbp-chip" },
          h("span", {}, names.of(id)),
          h(
            "button",
            {
              type: "button",
              "aria-label": `Offer ${names.of(id)} again`,
              onclick: () => {
                change(ids2.filter((i) => i !== id));
                made.input.focus();
              }
            },
            "×"
          )
        )
      )
    );
  };
  const made = classInput(form.ctx, {
    label: field.label,
    onPick: (id) => {
      if (!ids2.includes(id)) change([...ids2, id]);
    }
  });
  made.element.append(chips);
  made.element.classList.add("nbp-classes");
  return { element: made.element, control: made.input, set: (value) => draw2(value || []) };
}
function fixedParams(params, shown) {
  const offered = new Set(shown.map((field) => field.key));
  const rest = FIELDS.filter(
    (field) => !offered.has(field.key) && field.kind !== "classes" && field.key in params
  );
  const text = (value) => ({ true: "yes", false: "no" })[value] ?? String(value);
  return h(
    "div",
    { class: "nbp-fixed" },
    h("p", { class: "nbp-hint" }, "The same in all results of this page:"),
    h(
      "dl",
      {},
      rest.flatMap((field) => [h("dt", {}, field.label), h("dd", {}, text(params[field.key]))])
    )
  );
}
function sendParams(form) {
  const status = form.ctx.backend.get("status") || {};
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
function inShort(values) {
  const number = (key) => [FIELDS.find((f) => f.key === key).label.toLowerCase(), values[key]].join(" ");
  const left = (values.exclude || []).length;
  const parts = [
    `${values.centrality}${values.weighted ? ", weighted" : ""}`,
    SUBSETS[values.subset] ?? values.subset,
    number("min_overlaps"),
    number("max_overlaps_with_others").replace("-", "−"),
    ...["min_clean", "min_poison"].filter((key) => values[key]).map(number),
    left ? `${left} left out` : ""
  ];
  return parts.filter(Boolean).join(" · ");
}
function restore(form) {
  (form.fields[form.last] || Object.values(form.fields)[0]).control.focus();
  fill(form);
  sendParams(form);
}
function isAnswered(form) {
  const status = form.ctx.backend.get("status") || {};
  return !form.unsent && status.state !== "working" && (status.serial || 0) >= (form.serial || 0);
}
function sayBusy(form) {
  form.element.setAttribute("aria-busy", isAnswered(form) ? "false" : "true");
}
function readStatus(form) {
  const status = form.ctx.backend.get("status") || {};
  const failed = status.state === "error" && !["save", "choose"].includes(form.ctx.asked);
  if (isAnswered(form) && !failed) fill(form);
  sayBusy(form);
  const at = form.fields[form.last]?.element;
  if (failed && at && form.problem.previousSibling !== at) at.after(form.problem);
  if (failed) form.element.open = true;
  form.problem.hidden = form.alert.hidden = form.back.hidden = !failed;
  setText(form.alert, failed ? status.message : "");
}

// src/close_up.js
function makeCloseUp(ctx) {
  const c = { ctx, list: null, id: null, url: null };
  c.picture = h("div", { class: "nbp-large" });
  c.title = h("h3", { id: uid("large") });
  c.labels = h("p", { class: "nbp-hint" });
  const button = (text, label, onclick) => h("button", { type: "button", class: "nbp-button", "aria-label": label, onclick }, text);
  c.previous = button("‹ Previous", "Previous image", () => step(c, -1));
  c.next = button("Next ›", "Next image", () => step(c, 1));
  c.mark = button("Mark", null, () => markShown(c));
  c.element = h(
    "dialog",
    { class: "nbp-close-up", "aria-labelledby": c.title.id },
    c.title,
    c.picture,
    c.labels,
    h(
      "div",
      { class: "nbp-row" },
      h("span", { class: "nbp-buttons" }, c.previous, c.next),
      h(
        "span",
        { class: "nbp-buttons" },
        c.mark,
        button("Close", "Close", () => c.element.close())
      )
    )
  );
  const { life } = ctx;
  life.listen(c.element, "click", (event) => {
    if (event.target === c.element) c.element.close();
  });
  life.listen(c.element, "close", () => {
    freeLarge(c);
    c.list?.focus(c.id);
    c.list = null;
  });
  life.listen(c.element, "keydown", (event) => closeUpKey(c, event));
  life.add(
    ctx.backend.onMessage((content, buffers) => {
      if (c.list && content.type === "picture" && content.image.id === c.id)
        takePicture(c, content, buffers);
    })
  );
  life.add(() => freeLarge(c));
  c.open = (list, id) => {
    c.list = list;
    showImage(c, id);
    if (!c.element.open) c.element.showModal();
    if (framed()) besideTile(c, list.place(id));
  };
  c.redraw = () => {
    if (c.list) sayMark(c);
  };
  return c;
}
function framed() {
  return document.documentElement.dataset.framed !== void 0;
}
function besideTile(c, tile) {
  const room = document.body.scrollHeight - c.element.offsetHeight - 10;
  c.element.style.marginTop = `${Math.max(10, Math.min(tile.top - 120, room))}px`;
}
function closeUpKey(c, event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by) step(c, by);
  else if (event.key === "m") markShown(c);
  else return;
  event.preventDefault();
}
function markShown(c) {
  c.list.mark(c.id);
  sayMark(c);
}
function sayMark(c) {
  const marked = c.list.isMarked(c.id);
  c.mark.setAttribute("aria-pressed", marked ? "true" : "false");
  setText(c.mark, marked ? `Marked: ${c.list.markText} (M)` : `Mark: ${c.list.markText} (M)`);
}
function step(c, by) {
  const images = c.list.images();
  const to = images.findIndex((image) => image.id === c.id) + by;
  if (images[to]) showImage(c, images[to].id);
  else c.list.turn(by, (shown) => shown && showImage(c, (by > 0 ? shown[0] : shown.at(-1)).id));
}
function showImage(c, id) {
  c.id = id;
  const image = c.list.images().find((one) => one.id === id);
  freeLarge(c);
  setText(c.title, c.list.about(id));
  setText(c.labels, "");
  draw(c, image, c.list.url(id));
  sayMark(c);
  c.previous.disabled = !c.list.hasNext(id, -1);
  c.next.disabled = !c.list.hasNext(id, 1);
  c.list.ask(id);
}
function takePicture(c, { image }, [bytes]) {
  if (image.error || !bytes?.byteLength) return;
  freeLarge(c);
  c.url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  draw(c, image, c.url);
  setText(c.labels, image.labels?.length ? `Labels: ${image.labels.join(", ")}` : "");
}
function freeLarge(c) {
  if (c.url) URL.revokeObjectURL(c.url);
  c.url = null;
}
function draw(c, image, url) {
  const shape = `${image.width || 1}/${image.height || 1}`;
  const high = framed() ? "480px" : "66vh";
  const wide = `min(100%, calc(${high} * ${(image.width || 1) / (image.height || 1)}))`;
  const names = (image.boxes || []).map(
    (box) => h(
      "span",
      {
        class: `nbp-box-name nbp-box-name-${box.kind}`,
        style: `left:${100 * box.x0}%;top:${100 * box.y0}%`
      },
      box.label
    )
  );
  const picture = h(
    "span",
    { class: "nbp-picture", style: `aspect-ratio:${shape};width:${wide}` },
    url ? h("img", { src: url, alt: image.id }) : null,
    boxesOver(image),
    names
  );
  c.picture.replaceChildren(image.error ? h("p", { class: "nbp-alert" }, image.error) : picture);
}
function boxesOver(image) {
  const rectangles = (image.boxes || []).map(
    (b) => svg(
      "rect",
      {
        x: b.x0,
        y: b.y0,
        width: Math.max(0, b.x1 - b.x0),
        height: Math.max(0, b.y1 - b.y0),
        class: `nbp-box nbp-box-${b.kind}`,
        "vector-effect": "non-scaling-stroke"
      },
      svg("title", {}, b.label)
    )
  );
  return svg(
    "svg",
    { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...rectangles
  );
}

// src/gallery.js
var PAGE = 8;
var MARKS = {
  poison: ["not_trigger", "not a valid trigger image"],
  clean: ["trigger_visible", "trigger visible"]
};
function makeGallery(ctx) {
  const { backend, life, choice } = ctx;
  const g = { ctx, cls: null, trigger: null, seen: false, undo: [] };
  g.closeUp = makeCloseUp(ctx);
  g.select = h("select", { id: uid("evidence") });
  g.select.onchange = () => showClass(g, Number(g.select.value));
  g.undoButton = h(
    "button",
    { type: "button", class: "nbp-button nbp-small", onclick: () => undoMark(g) },
    "Undo last mark"
  );
  g.said = h("span", { class: "nbp-hint", role: "status" });
  g.panes = { poison: makePane(g, "poison"), clean: makePane(g, "clean") };
  g.hint = h("p", { class: "nbp-empty" }, "Pick a trigger to look at its images.");
  g.packed = h("span", {});
  g.legend = h(
    "span",
    { class: "nbp-keys", hidden: true },
    h("span", { class: "nbp-key nbp-key-trigger" }, "trigger"),
    " ",
    h("span", { class: "nbp-key nbp-key-class" }, "class")
  );
  g.body = h(
    "div",
    {},
    h(
      "div",
      { class: "nbp-row" },
      h(
        "div",
        { class: "nbp-field nbp-inline" },
        h("label", { for: g.select.id }, "Class"),
        g.select
      ),
      g.said,
      g.undoButton
    ),
    h(
      "p",
      { class: "nbp-hint" },
      touched.matches ? "Tap an image to see it large. × marks one that is not what it stands for: it is left out. " : "Click an image to see it large. × or the key M marks one that is not what it stands for: it is left out. ",
      g.packed,
      g.legend
    ),
    g.panes.poison.element,
    g.panes.clean.element
  );
  g.element = h(
    "section",
    { class: "nbp-panel nbp-gallery", "aria-label": "Evidence" },
    h("h3", {}, "Evidence"),
    g.hint,
    g.body
  );
  const read = oncePerFrame(life, () => readGallery(g));
  life.on(backend, ["options", "classes", "detail"], read);
  life.on(backend, "marks", () => {
    Object.values(g.panes).forEach(drawMarks);
    g.closeUp.redraw();
    sayMarks(g);
  });
  life.add(
    backend.onMessage((content, buffers) => {
      if (content.type === "gallery") takePage(g, content, buffers || []);
    })
  );
  life.add(() => Object.values(g.panes).forEach(freeImages));
  choice.listen(read);
  const eye = new IntersectionObserver(
    (entries) => {
      g.seen = entries[entries.length - 1].isIntersecting;
      if (g.seen) askPages(g);
    },
    { rootMargin: "200px" }
  );
  eye.observe(g.body);
  life.add(() => eye.disconnect());
  read();
  return g;
}
function makePane(g, role) {
  const pane = { g, role, page: 0, pages: 0, total: 0, images: [] };
  Object.assign(pane, { urls: /* @__PURE__ */ new Map(), tiles: /* @__PURE__ */ new Map(), asked: null, then: null });
  pane.title = h("h4", { id: uid(role) });
  pane.list = h("ul", { class: "nbp-tiles", "aria-labelledby": pane.title.id });
  pane.where = h("span", { class: "nbp-hint", role: "status" });
  const turn = (by) => {
    if (pane.page + by < 0 || pane.page + by >= pane.pages) return;
    pane.page += by;
    askPage(pane);
  };
  pane.turn = turn;
  pane.previous = h(
    "button",
    {
      type: "button",
      class: "nbp-button nbp-small",
      disabled: true,
      onclick: () => turn(-1),
      "aria-label": `Previous ${role} images`
    },
    "‹"
  );
  pane.next = h(
    "button",
    {
      type: "button",
      class: "nbp-button nbp-small",
      disabled: true,
      onclick: () => turn(1),
      "aria-label": `Next ${role} images`
    },
    "›"
  );
  pane.element = h(
    "div",
    { class: `nbp-pane nbp-pane-${role}` },
    h(
      "div",
      { class: "nbp-row" },
      pane.title,
      h("span", { class: "nbp-buttons" }, pane.where, pane.previous, pane.next)
    ),
    pane.list
  );
  return pane;
}
function readGallery(g) {
  const { backend, choice, names } = g.ctx;
  const { trigger, classes } = choice.get();
  const { has_images: there, no_images: why } = backend.get("options");
  g.element.hidden = !there && !why;
  g.hint.hidden = there && trigger !== null;
  g.body.hidden = !there || trigger === null;
  setText(g.hint, there ? "Pick a trigger to look at its images." : why || "");
  const some = "Only some of the images are packed into this page. ";
  setText(g.packed, backend.get("options").static ? some : "");
  if (g.body.hidden) return;
  const detail = backend.get("detail");
  const all = detail.trigger === trigger ? detail.rows.id : [];
  const others = all.filter((id) => !classes.includes(id));
  const group = (label, ids2) => ids2.length ? h(
    "optgroup",
    { label },
    ids2.map((id) => h("option", { value: id }, names.of(id)))
  ) : null;
  g.select.replaceChildren(
    ...[group("Chosen", classes), group("Other neighbors", others)].filter(Boolean)
  );
  const keep = trigger === g.trigger && [...classes, ...others].includes(g.cls);
  const cls = keep ? g.cls : classes[0] ?? others[0] ?? null;
  if (trigger !== g.trigger) g.undo = [];
  const changed = trigger !== g.trigger || cls !== g.cls;
  g.trigger = trigger;
  if (cls !== null) g.select.value = String(cls);
  if (changed) showClass(g, cls);
  sayMarks(g);
}
function showClass(g, cls) {
  g.cls = cls;
  for (const pane of Object.values(g.panes)) {
    pane.page = pane.pages = 0;
    pane.asked = pane.then = null;
    const { names } = g.ctx;
    setText(
      pane.title,
      cls === null ? "" : pane.role === "clean" ? `Clean: ${names.of(cls)} without ${names.of(g.trigger)}` : `Poison: ${names.of(cls)} with ${names.of(g.trigger)}`
    );
  }
  askPages(g);
}
function askPages(g) {
  Object.values(g.panes).forEach(askPage);
}
function askPage(pane) {
  const { g } = pane;
  const key = `${g.trigger}|${g.cls}|${pane.page}`;
  if (!g.seen || g.cls === null || g.trigger === null || pane.asked === key) return;
  pane.asked = key;
  pane.element.setAttribute("aria-busy", "true");
  setText(pane.where, "Loading …");
  g.ctx.send({
    type: "gallery",
    trigger: g.trigger,
    class: g.cls,
    role: pane.role,
    page: pane.page,
    size: PAGE
  });
}
function takePage(g, content, buffers) {
  const pane = g.panes[content.role];
  if (!pane || pane.asked !== `${content.trigger}|${content.class}|${content.page}`) return;
  freeImages(pane);
  pane.pages = content.pages;
  pane.total = content.total;
  pane.images = content.images;
  pane.element.setAttribute("aria-busy", "false");
  const focus = pane.element.getRootNode().activeElement;
  pane.previous.disabled = content.page <= 0;
  pane.next.disabled = content.page >= content.pages - 1;
  if (focus === pane.next && pane.next.disabled) pane.previous.focus();
  if (focus === pane.previous && pane.previous.disabled) pane.next.focus();
  setText(
    pane.where,
    content.total ? `${count(content.total, "image")} · page ${content.page + 1} of ${content.pages}` : "no image"
  );
  pane.list.replaceChildren(...content.images.map((image, i) => makeTile(pane, image, buffers[i])));
  drawMarks(pane);
  const panes = Object.values(g.panes);
  g.legend.hidden = !panes.some((one) => one.images.some((image) => image.boxes?.length));
  const { then } = pane;
  pane.then = null;
  then?.(pane.images);
}
function freeImages(pane) {
  pane.urls.forEach((url) => URL.revokeObjectURL(url));
  pane.urls.clear();
  pane.tiles.clear();
  pane.images = [];
}
function makeTile(pane, image, bytes) {
  const badge = h("span", { class: "nbp-badge", hidden: true });
  if (image.error || !bytes?.byteLength)
    return h(
      "li",
      {},
      h(
        "div",
        { class: "nbp-tile nbp-broken" },
        h("span", {}, image.id),
        h("span", {}, image.error || "no image data")
      )
    );
  const url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  pane.urls.set(image.id, url);
  const flat = image.width >= image.height;
  const fill2 = flat ? "width:100%" : "height:100%";
  const style = `aspect-ratio:${image.width || 1}/${image.height || 1};${fill2}`;
  const picture = h(
    "span",
    { class: "nbp-picture", style },
    h("img", { src: url, alt: "", decoding: "async" }),
    boxesOver(image)
  );
  const tile = h(
    "button",
    {
      type: "button",
      class: "nbp-tile",
      title: image.id,
      onclick: () => pane.g.closeUp.open(inPane(pane), image.id),
      onkeydown: (event) => {
        if (event.key === "m") markImage(pane, image.id);
      }
    },
    picture,
    badge
  );
  const mark = h(
    "button",
    { type: "button", class: "nbp-mark-button", onclick: () => markImage(pane, image.id) },
    "×"
  );
  pane.tiles.set(image.id, { tile, badge, mark, boxes: image.boxes || [] });
  return h("li", {}, tile, mark);
}
function inPane(pane) {
  const { g, role } = pane;
  const place = (id) => pane.images.findIndex((image) => image.id === id);
  return {
    markText: MARKS[role][1],
    images: () => pane.images,
    url: (id) => pane.urls.get(id),
    isMarked: (id) => (g.ctx.backend.get("marks") || {})[id] === MARKS[role][0],
    mark: (id) => markImage(pane, id),
    place: (id) => pane.tiles.get(id).tile.getBoundingClientRect(),
    focus: (id) => pane.tiles.get(id)?.tile.focus(),
    about: (id) => {
      const n = pane.page * PAGE + place(id) + 1;
      return `${pane.title.textContent} – ${n} of ${pane.total}: ${id}`;
    },
    ask: (id) => g.ctx.send({ type: "picture", image: id, trigger: g.trigger, class: g.cls }),
    hasNext: (id, by) => pane.images[place(id) + by] !== void 0 || pane.page + by >= 0 && pane.page + by < pane.pages,
    turn: (by, then) => {
      if (pane.then) return;
      pane.then = then;
      pane.turn(by);
    }
  };
}
function drawMarks(pane) {
  const marks = pane.g.ctx.backend.get("marks") || {};
  for (const [id, { tile, badge, mark, boxes }] of pane.tiles) {
    const marked = marks[id] === MARKS[pane.role][0];
    const text = MARKS[pane.role][1];
    badge.hidden = !marked;
    setText(badge, marked ? text : "");
    tile.classList.toggle("nbp-marked", marked);
    mark.setAttribute("aria-pressed", marked ? "true" : "false");
    mark.setAttribute("aria-label", `Mark ${id} as ${text}`);
    mark.title = `Mark as ${text}`;
    const seen = boxes.length ? `, boxes: ${boxes.map((b) => b.label).join(", ")}` : "";
    tile.setAttribute("aria-label", `${pane.role} image ${id}${seen}, shown large`);
  }
}
function sayMarks(g) {
  const n = Object.keys(g.ctx.backend.get("marks") || {}).length;
  setText(g.said, n ? `${count(n, "image")} marked` : "");
  const focused = g.undoButton.getRootNode().activeElement === g.undoButton;
  g.undoButton.disabled = !g.undo.length;
  if (focused && g.undoButton.disabled) g.select.focus();
}
function markImage(pane, image) {
  const { g } = pane;
  const before = (g.ctx.backend.get("marks") || {})[image] ?? null;
  const [mark] = MARKS[pane.role];
  g.undo.push([image, before]);
  g.ctx.send({ type: "mark", image, mark: before === mark ? null : mark });
  sayMarks(g);
}
function undoMark(g) {
  const [image, mark] = g.undo.pop() || [];
  if (image === void 0) return;
  g.ctx.send({ type: "mark", image, mark });
  sayMarks(g);
}

// src/outcome.js
var REST3 = 300;
var OUTPUTS = [
  ["line", "Line"],
  ["python", "Python"],
  ["command", "Command"],
  ["json", "JSON"]
];
function makeOutcome(ctx) {
  const { backend, life, choice } = ctx;
  const o = { ctx };
  o.target = h("select", { id: uid("target") });
  o.target.onchange = () => choice.choose(choice.get().classes, o.target.value === "" ? null : Number(o.target.value));
  o.sizes = makeSizes(ctx, o);
  o.figures = h("dl", { class: "nbp-figures" });
  o.warnings = h("ul", {
    class: "nbp-warnings",
    "aria-label": "Warnings",
    "aria-live": "polite",
    tabindex: "0"
  });
  o.counts = h("tbody");
  const note = "Images with two of the classes, which a split leaves out, are in these numbers: this page does not know which they are.";
  o.note = h("p", { class: "nbp-hint" }, note);
  o.hint = h(
    "p",
    { class: "nbp-empty" },
    "Pick a trigger to see what would happen, before anything is trained."
  );
  o.tableBox = h(
    "div",
    {
      class: "nbp-scroll nbp-low",
      tabindex: "0",
      role: "region",
      "aria-label": "Images of each class"
    },
    h(
      "table",
      { class: "nbp-grid" },
      h(
        "colgroup",
        {},
        h("col"),
        h("col", { style: "width:72px" }),
        h("col", { style: "width:72px" })
      ),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Class"),
          h("th", { scope: "col", class: "nbp-num" }, "Clean"),
          h("th", { scope: "col", class: "nbp-num" }, "Poison")
        )
      ),
      o.counts
    )
  );
  const target = h(
    "div",
    { class: "nbp-field nbp-target" },
    h("label", { for: o.target.id }, "Target"),
    o.target,
    h("span", { class: "nbp-hint" }, "what images with the trigger are to be taken for")
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
    o.body
  );
  const read = oncePerFrame(life, () => readOutcome(o));
  life.on(backend, ["counts", "outputs", "status", "classes", "options"], read);
  choice.listen(read);
  read();
  return o;
}
function makeSizes(ctx, o) {
  const field = (label, attributes, hint) => {
    const input = h("input", { id: uid("size"), type: "number", required: "", ...attributes });
    input.setAttribute("aria-describedby", hint.id);
    const element = h(
      "div",
      { class: "nbp-field" },
      h("label", { for: input.id }, label),
      input,
      hint
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
  const ask = (settings) => {
    const { classes, target } = ctx.choice.get();
    ctx.send({ type: "choose", classes, target, ...settings });
  };
  const later = debounced(ctx.life, REST3, ask);
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
function readSizes(o, counts) {
  const { size } = counts;
  for (const element of [o.size, o.rate]) element.parentNode.hidden = !size;
  if (!size) return;
  const active = o.size.getRootNode().activeElement;
  for (const [input, value] of [
    [o.size, size.n_clean],
    [o.rate, size.inject_rate]
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
    fits ? `these classes allow ${whole(fits)}${most}` : `“${least}” has ${whole(few)}`
  );
  o.fit.hidden = !size.sized || !fits || fits === size.n_clean;
  setText(o.fit, `Take ${whole(fits)}, which these classes allow`);
}
function makeOutputs(ctx, o) {
  o.text = {};
  o.code = h("code");
  o.shown = "line";
  o.pre = h("pre", { class: "nbp-code", id: uid("text"), role: "tabpanel", tabindex: "0" }, o.code);
  o.tabs = OUTPUTS.map(
    ([key, title]) => h(
      "button",
      {
        type: "button",
        role: "tab",
        id: uid("tab"),
        "aria-controls": o.pre.id,
        onclick: () => showOutput(o, key)
      },
      title
    )
  );
  const bar = h(
    "div",
    {
      role: "tablist",
      class: "nbp-tabs",
      "aria-label": "The choice as text",
      onkeydown: (event) => tabKey(o, event)
    },
    o.tabs
  );
  const copy = copyButton(() => o.text[o.shown] || "", "the text");
  o.path = h("input", {
    id: uid("path"),
    type: "text",
    spellcheck: "false",
    autocomplete: "off",
    placeholder: "selection.json"
  });
  o.path.onkeydown = (event) => {
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
      o.path
    ),
    h("button", { type: "button", class: "nbp-button nbp-main", onclick: save }, "Save")
  );
  return h(
    "div",
    {},
    h("div", { class: "nbp-row" }, bar, copy),
    o.pre,
    o.saving,
    o.saved,
    o.failed
  );
}
function tabKey(o, event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const there = OUTPUTS.map(([key]) => key).filter((key) => o.text[key]);
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
  const there = trigger !== null && counts.rows !== void 0;
  o.hint.hidden = there;
  o.body.hidden = !there;
  if (!there) return;
  const ids2 = [...classes].sort((a, b) => names.of(a).localeCompare(names.of(b)));
  const options = [
    h("option", { value: "" }, "choose a target …"),
    ...ids2.map((id) => h("option", { value: id }, names.of(id)))
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
    ["Poison images", whole(counts.n_poison)]
  ];
  if (counts.injection_rate !== null && counts.injection_rate !== void 0)
    figures.push(["Injection rate", percent(counts.injection_rate)]);
  o.figures.replaceChildren(
    ...figures.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text)))
  );
  o.note.hidden = !backend.get("options").static;
  const warnings = counts.warnings || [];
  o.warnings.hidden = !warnings.length;
  if (String(warnings) !== o.warned)
    o.warnings.replaceChildren(...warnings.map((text) => h("li", {}, text)));
  o.warned = String(warnings);
  o.counts.replaceChildren(
    ...counts.rows.id.map(
      (id, i) => h(
        "tr",
        {},
        h(
          "td",
          {},
          nameCell(names, id),
          id === target ? h("span", { class: "nbp-tag" }, "target") : null
        ),
        h("td", { class: "nbp-num" }, whole(counts.rows.n_clean[i])),
        h("td", { class: "nbp-num" }, whole(counts.rows.n_poison[i]))
      )
    )
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
  if (outputs.path !== void 0 && o.given !== outputs.path && o.path.getRootNode().activeElement !== o.path)
    o.path.value = o.given = outputs.path;
  setText(o.saved, outputs.saved || "");
  const failed = status.state === "error" && ["save", "choose"].includes(o.ctx.asked);
  o.failed.hidden = !failed;
  setText(o.failed, failed ? status.message : "");
}

// src/triggers.js
function makeTriggers(ctx) {
  const { backend, names, life, choice } = ctx;
  let rows = { id: [], centrality: [], n_classes: [], bound: [], n_images: [], n_poison: [] };
  const number = (title, key, width, hint, cell) => ({
    title,
    hint,
    numeric: true,
    width,
    value: (i) => rows[key][i],
    cell: cell || ((i) => whole(rows[key][i]))
  });
  const size = (i) => rows.bound?.[i] > rows.n_classes[i] ? `${whole(rows.n_classes[i])} (≤ ${whole(rows.bound[i])})` : whole(rows.n_classes[i]);
  const table = makeTable(life, {
    label: "Triggers",
    minWidth: 260,
    empty: "No trigger fulfills these settings.",
    onPick: (id) => choice.pick(id),
    columns: [
      {
        title: "Trigger",
        value: (i) => names.of(rows.id[i]),
        cell: (i) => nameCell(names, rows.id[i])
      },
      number("Centr.", "centrality", "64px", "Centrality", (i) => decimal(rows.centrality[i])),
      number("Classes", "n_classes", "62px", "Classes that it could attack together", size),
      { ...number("Images", "n_images", "58px", "Images that show the trigger"), wide: true },
      number("Poison", "n_poison", "56px", "Poison images over its classes")
    ]
  });
  const search = h("input", {
    id: uid("search"),
    type: "search",
    placeholder: "Search by name",
    autocomplete: "off",
    spellcheck: "false"
  });
  const said = h("span", { class: "nbp-hint", role: "status" });
  const say = () => setText(
    said,
    search.value.trim() ? `${whole(table.order.length)} of ${count(table.n, "trigger")}` : count(table.n, "trigger")
  );
  search.oninput = () => {
    table.setFilter(search.value);
    say();
  };
  search.onkeydown = (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      table.table.focus();
      tableKey(table, { key: "Home", preventDefault() {
      } });
    }
  };
  const read = oncePerFrame(life, () => {
    rows = backend.get("result")?.triggers || rows;
    table.update(rows.id.length, (i) => rows.id[i], { search: (i) => names.searchOf(rows.id[i]) });
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
      search
    ),
    table.element
  );
  return { element, table };
}
function makeLookup(ctx, triggers) {
  const { backend, names, life, choice } = ctx;
  let rows = { trigger: [], centrality: [], overlaps: [], n_clean: [], n_poison: [] };
  const number = (title, key, cell) => ({
    title,
    numeric: true,
    width: title === "Overlaps" ? "76px" : "62px",
    value: (i) => rows[key][i],
    cell: cell || ((i) => whole(rows[key][i]))
  });
  const table = makeTable(life, {
    label: "Triggers that could poison the class",
    minWidth: 320,
    empty: "No trigger’s set holds this class.",
    onPick: (id) => {
      choice.pick(id);
      triggers.table.show(id);
    },
    columns: [
      {
        title: "Trigger",
        value: (i) => names.of(rows.trigger[i]),
        cell: (i) => nameCell(names, rows.trigger[i])
      },
      number("Overlaps", "overlaps"),
      number("Clean", "n_clean"),
      number("Poison", "n_poison")
    ]
  });
  const said = h("p", { class: "nbp-hint", role: "status" });
  let asked = null;
  const input = classInput(ctx, {
    label: "Which triggers could poison the class …",
    keep: true,
    onPick: (id) => {
      asked = id;
      ctx.send({ type: "for_class", id });
    }
  });
  const read = oncePerFrame(life, () => {
    const found = backend.get("for_class") || {};
    table.element.hidden = found.rows === void 0;
    if (!found.rows) return;
    rows = found.rows;
    table.update(rows.trigger.length, (i) => rows.trigger[i]);
    setText(said, `${count(rows.trigger.length, "trigger")} could poison ${names.of(found.class)}`);
  });
  life.on(backend, "for_class", read);
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
      table.element
    )
  };
}

// src/picker.js
function makePicker(backend, host) {
  const life = makeLife();
  const root = h("div", { class: "nbp" });
  keepKeys(life, root);
  const ctx = { backend, life, root, themes: [], asked: null };
  ctx.send = (message) => {
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
      h("div", { class: "nbp-stack" }, gallery.element, detail.graph.panel)
    ),
    gallery.closeUp.element
  );
  host.append(root);
  followTheme(ctx);
  return () => {
    life.end();
    root.remove();
  };
}
function keepKeys(life, root) {
  life.listen(
    window,
    "keydown",
    (event) => {
      const target = event.composedPath()[0];
      if (root.contains(target))
        target.toggleAttribute("data-lm-suppress-shortcuts", !event.ctrlKey && !event.metaKey);
    },
    true
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
      [options.dataset, options.split, options.n_images ? count(options.n_images, "image") : ""].filter(Boolean).join(" · ")
    );
    setText(summary, backend.get("result")?.summary || "");
    badge.dataset.state = status.state || "ready";
    const took = status.seconds === null || status.seconds === void 0 ? "" : ` in ${status.seconds.toFixed(status.seconds < 10 ? 1 : 0)} s`;
    const states = { working: "Working …", error: "Not possible", lost: "Not connected" };
    setText(badge, states[status.state] || `Ready${took}`);
    const here = ["ready", "lost"].includes(status.state);
    setText(note, here && status.message || "");
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
    note
  );
}
function followTheme(ctx) {
  const { root, life, themes } = ctx;
  const look = () => {
    const given = getComputedStyle(root).getPropertyValue("--jp-layout-color1").trim();
    const said = document.documentElement.dataset.theme;
    const system = matchMedia("(prefers-color-scheme: dark)").matches;
    const told = ["dark", "light"].includes(said);
    const dark = given ? isDark(given, root) : told ? said === "dark" : system;
    root.dataset.theme = dark ? "dark" : "light";
    themes.forEach((fn) => fn());
  };
  life.listen(matchMedia("(prefers-color-scheme: dark)"), "change", look);
  const observer = new MutationObserver(look);
  for (const element of [document.documentElement, document.body])
    observer.observe(element, { attributes: true });
  for (const event of ["transitionend", "transitioncancel"])
    life.listen(root, event, ({ target }) => {
      if (target === root) look();
    });
  life.add(() => observer.disconnect());
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
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return 0.299 * r + 0.587 * g + 0.114 * b < 128;
}

// src/page.js
function startPage() {
  const given = document.getElementById("picker-data");
  if (given === null) return;
  if (window.parent !== window) document.documentElement.dataset.framed = "";
  makePicker(staticBackend(JSON.parse(given.textContent)), document.getElementById("picker"));
  if (window.parent !== window) liveInside();
}
function liveInside() {
  const body = document.body;
  const tell2 = () => window.parent.postMessage({ nbpHeight: body.scrollHeight }, "*");
  new ResizeObserver(tell2).observe(body);
  addEventListener("message", ({ source, data }) => {
    if (source === window.parent && ["dark", "light"].includes(data?.nbpTheme))
      document.documentElement.dataset.theme = data.nbpTheme;
  });
  tell2();
}

// src/widget.js
function render({ model, el }) {
  return makePicker(kernelBackend(model), el);
}
startPage();
var widget_default = { render };
export {
  widget_default as default,
  largestSize,
  planSplit,
  staticBackend
};
