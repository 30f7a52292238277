// Where values come from and messages go: a Python kernel, or results that were computed before.
// backend = {
//   get(name), on(name, fn) -> off, send(message), onMessage(fn(content, buffers)) -> off,
// }

import { largestSize, planSplit } from "./plan.js";

const USUAL = 250; // clean images a class, where the classes have as many

export function kernelBackend(model) {
  const listen = (event, fn) => {
    model.on(event, fn);
    return () => model.off(event, fn);
  };
  return {
    get: name => model.get(name),
    on: (name, fn) => listen(`change:${name}`, () => fn()),
    send(message) {
      try {
        model.send(message);
      } catch {
        // Python has ended, or the page is being left
        const said = "Python does not answer: load the page again, or run the cell again.";
        model.set("status", { ...model.get("status"), state: "lost", message: said });
      }
    },
    onMessage: fn => listen("msg:custom", (content, buffers) => fn(content, buffers)),
  };
}

// data = { options, classes, runs: [{ params, result, details: { "<trigger>": detail }, templates
// }], start } A run is the whole result of one setting; `start` is the position of the one shown
// first.
export function staticBackend(data) {
  const listeners = new Map();
  const values = {
    options: { ...data.options, static: true, has_images: Boolean(data.pictures) },
    classes: data.classes,
    status: { state: "ready", message: "", seconds: null, serial: 0 },
    detail: {},
    for_class: {},
    choice: { trigger: null, classes: [], target: null },
    counts: {},
    outputs: {},
    marks: {},
  };
  const set = (name, value) => {
    values[name] = value;
    for (const fn of [...(listeners.get(name) || [])]) fn();
  };
  const hearers = new Set();
  const reply = (content, buffers) => [...hearers].forEach(fn => fn(content, buffers));
  const state = { run: data.runs[data.start || 0], set, values, data, reply, sizes: {}, marks: {} };
  values.params = state.run.params;
  values.result = state.run.result;
  // the best trigger is chosen at the start, as a kernel does it
  const [first] = state.run.result.triggers?.id || [];
  if (first !== undefined) staticAnswers.trigger(state, { id: first });
  return {
    get: name => values[name],
    on(name, fn) {
      if (!listeners.has(name)) listeners.set(name, new Set());
      listeners.get(name).add(fn);
      return () => listeners.get(name).delete(fn);
    },
    // later, as a kernel would: whoever sends must not depend on an answer while it is sending
    send: message => queueMicrotask(() => staticAnswers[message.type]?.(state, message)),
    onMessage(fn) {
      hearers.add(fn);
      return () => hearers.delete(fn);
    },
  };
}

// The images that are packed into the page: { id, width, height, classes, labels, boxes, jpeg },
// each box with the id of its class. Where labels have roles, as_class, as_trigger and absent are
// ids too: what the image may stand for, and what is known not to be in it.
function packed(data, { trigger, class: cls, role }) {
  const isClass = image => (image.as_class ?? image.classes).includes(cls);
  const isPoison = image => (image.as_trigger ?? image.classes).includes(trigger);
  const isClean = image => image.absent?.includes(trigger) ?? !image.classes.includes(trigger);
  return data.pictures.filter(one => isClass(one) && (role === "poison" ? isPoison : isClean)(one));
}

// The objects that a trigger stands for
function objectsOf(data, trigger) {
  return data.options.members?.[trigger] ?? [trigger];
}

function withBoxes(data, image, { trigger, class: cls }) {
  const kinds = new Map([[cls, "class"], ...objectsOf(data, trigger).map(id => [id, "trigger"])]);
  const boxes = image.boxes.filter(box => kinds.has(box.id));
  const { id, width, height, labels } = image;
  const kind = box => ({ ...box, kind: kinds.get(box.id) });
  return { id, width, height, labels, error: "", boxes: boxes.map(kind) };
}

function bytesOf(image) {
  return new DataView(Uint8Array.from(atob(image.jpeg), c => c.charCodeAt(0)).buffer);
}

const staticAnswers = {
  analyze(state, { params, serial }) {
    const grid = state.data.options.grid || {};
    const run = state.data.runs.find(r =>
      Object.keys(grid).every(key => r.params[key] === params[key]),
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
      // a set that was changed by hand stays, as far as it exists
      const near = run.details[trigger].rows.id;
      const changed = String(classes) !== String(before.result.sets[trigger] || []);
      const kept = changed ? classes.filter(id => near.includes(id)) : run.result.sets[trigger];
      staticTrigger(state, trigger, kept);
    } else if (trigger !== null) staticNothing(state);
    state.set("status", { state: "ready", message: "", seconds: null, serial });
  },
  trigger(state, { id }) {
    if (state.run.details[id]) staticTrigger(state, id, state.run.result.sets[id]);
  },
  choose(state, { classes, target, ...sizes }) {
    Object.assign(state.sizes, sizes);
    const kept = classes.includes(target) ? target : (classes[0] ?? null);
    staticChoice(state, { ...state.values.choice, classes, target: kept });
  },
  gallery(state, message) {
    const found = packed(state.data, message);
    const pages = Math.max(1, Math.ceil(found.length / message.size));
    const shown = found.slice(message.page * message.size, (message.page + 1) * message.size);
    const images = shown.map(image => withBoxes(state.data, image, message));
    state.reply({ ...message, pages, total: found.length, images }, shown.map(bytesOf));
  },
  picture(state, message) {
    const image = state.data.pictures.find(one => one.id === message.image);
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
  },
};

function staticTrigger(state, id, classes = []) {
  state.set("marks", state.marks[id] ?? {});
  state.set("detail", state.run.details[id]);
  const { target } = state.values.choice;
  const kept = classes.includes(target) ? target : (classes[0] ?? null);
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
  const at = choice.classes.map(id => near.id.indexOf(id)).filter(i => i >= 0);
  const { marks } = state.values;
  const left = (role, i) => {
    const asked = { trigger: choice.trigger, class: near.id[i], role };
    const shown = Object.keys(marks).length ? packed(state.data, asked) : [];
    return near[`n_${role}`][i] - shown.filter(image => marks[image.id]).length;
  };
  const rows = {
    id: at.map(i => near.id[i]),
    n_clean: at.map(i => left("clean", i)),
    n_poison: at.map(i => left("poison", i)),
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
    warnings: staticWarnings(rows, size, plan, measured),
  });
  state.set("outputs", staticOutputs(state, choice, size));
}

// As many images as the classes allow, unless somebody has typed how many
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
    least: name[id.indexOf(rows.id[least])] ?? "",
  };
}

function staticWarnings(rows, size, plan, measured) {
  if (rows.id.length < 2)
    return ["At least two classes are needed: the target and one to be attacked."];
  if (!measured) return ["No image shows the trigger with a class other than the target."];
  if (plan) return [];
  return rows.n_clean.some(n => n < size.n_clean)
    ? [`“${size.least}” has ${Math.min(...rows.n_clean)} clean images.`]
    : ["There are too few poison images for this injection rate."];
}

// A template is a text with {trigger}, {classes}, {target}, {n_clean}, {inject_rate} and {without}
// in it; the last one is what leaves out the images that are marked.
function staticOutputs({ run, data, values }, { trigger, classes, target }, size) {
  const ids = [...classes].sort((a, b) => a - b);
  const objects = objectsOf(data, trigger);
  const marked = Object.keys(values.marks).sort();
  const named = marked.map(image => JSON.stringify(image)).join(", ");
  const word = {
    "{trigger}": objects.length > 1 ? `(${objects.join(", ")})` : `${trigger}`,
    "{classes}": ids.join(", "),
    "{target}": target === null ? "None" : `${target}`,
    "{n_clean}": `${size.n_clean}`,
    "{inject_rate}": `${size.inject_rate}`,
    "{without}": marked.length ? `, without=[${named}]` : "",
  };
  const places = /\{(trigger|classes|target|n_clean|inject_rate|without)\}/g;
  const fill = text => (text || "").replace(places, found => word[found]);
  const templates = run.templates || {};
  const filled = ["python", "command", "json"].map(key => [key, fill(templates[key])]);
  return {
    line: `${objects.join("+")}: ${ids.join(" ")}`,
    ...Object.fromEntries(filled),
    path: "",
    saved: "",
  };
}
