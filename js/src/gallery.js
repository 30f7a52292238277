// Evidence: images of a class with the trigger, and without it. A click shows one large; a button
// at its corner, or the key M, marks a wrong one.

import { boxesOver, makeCloseUp } from "./close_up.js";
import { count, h, oncePerFrame, setText, touched, uid } from "./dom.js";

const PAGE = 8; // images asked for at once, of each kind

const MARKS = {
  poison: ["not_trigger", "not a valid trigger image"],
  clean: ["trigger_visible", "trigger visible"],
};

export function makeGallery(ctx) {
  const { backend, life, choice } = ctx;
  const g = { ctx, cls: null, trigger: null, seen: false, undo: [] };
  g.closeUp = makeCloseUp(ctx);
  g.select = h("select", { id: uid("evidence") });
  g.select.onchange = () => showClass(g, Number(g.select.value));
  g.undoButton = h(
    "button",
    { type: "button", class: "nbp-button nbp-small", onclick: () => undoMark(g) },
    "Undo last mark",
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
    h("span", { class: "nbp-key nbp-key-class" }, "class"),
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
        g.select,
      ),
      g.said,
      g.undoButton,
    ),
    h(
      "p",
      { class: "nbp-hint" },
      touched.matches
        ? "Tap an image to see it large. × marks one that is not what it stands for: it is left " +
            "out. "
        : "Click an image to see it large. × or the key M marks one that is not what it stands " +
            "for: it is left out. ",
      g.packed,
      g.legend,
    ),
    g.panes.poison.element,
    g.panes.clean.element,
  );
  g.element = h(
    "section",
    { class: "nbp-panel nbp-gallery", "aria-label": "Evidence" },
    h("h3", {}, "Evidence"),
    g.hint,
    g.body,
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
    }),
  );
  life.add(() => Object.values(g.panes).forEach(freeImages));
  choice.listen(read);
  // images are asked for when the gallery is scrolled to
  const eye = new IntersectionObserver(
    entries => {
      g.seen = entries[entries.length - 1].isIntersecting;
      if (g.seen) askPages(g);
    },
    { rootMargin: "200px" },
  );
  eye.observe(g.body);
  life.add(() => eye.disconnect());
  read();
  return g;
}

function makePane(g, role) {
  const pane = { g, role, page: 0, pages: 0, total: 0, images: [] };
  Object.assign(pane, { urls: new Map(), tiles: new Map(), asked: null, then: null });
  pane.title = h("h4", { id: uid(role) });
  pane.list = h("ul", { class: "nbp-tiles", "aria-labelledby": pane.title.id });
  pane.where = h("span", { class: "nbp-hint", role: "status" });
  const turn = by => {
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
      "aria-label": `Previous ${role} images`,
    },
    "‹",
  );
  pane.next = h(
    "button",
    {
      type: "button",
      class: "nbp-button nbp-small",
      disabled: true,
      onclick: () => turn(1),
      "aria-label": `Next ${role} images`,
    },
    "›",
  );
  pane.element = h(
    "div",
    { class: `nbp-pane nbp-pane-${role}` },
    h(
      "div",
      { class: "nbp-row" },
      pane.title,
      h("span", { class: "nbp-buttons" }, pane.where, pane.previous, pane.next),
    ),
    pane.list,
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
  const others = all.filter(id => !classes.includes(id));
  const group = (label, ids) =>
    ids.length
      ? h(
          "optgroup",
          { label },
          ids.map(id => h("option", { value: id }, names.of(id))),
        )
      : null;
  g.select.replaceChildren(
    ...[group("Chosen", classes), group("Other neighbors", others)].filter(Boolean),
  );
  const keep = trigger === g.trigger && [...classes, ...others].includes(g.cls);
  const cls = keep ? g.cls : (classes[0] ?? others[0] ?? null);
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
    pane.page = pane.pages = 0; // until the answer is there
    pane.asked = pane.then = null;
    const { names } = g.ctx;
    setText(
      pane.title,
      cls === null
        ? ""
        : pane.role === "clean"
          ? `Clean: ${names.of(cls)} without ${names.of(g.trigger)}`
          : `Poison: ${names.of(cls)} with ${names.of(g.trigger)}`,
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
    size: PAGE,
  });
}

// An answer to another view, or to a page that was left, is not for this pane.
function takePage(g, content, buffers) {
  const pane = g.panes[content.role];
  if (!pane || pane.asked !== `${content.trigger}|${content.class}|${content.page}`) return;
  freeImages(pane);
  pane.pages = content.pages;
  pane.total = content.total;
  pane.images = content.images;
  pane.element.setAttribute("aria-busy", "false");
  // the keyboard stays here at the first and the last page
  const focus = pane.element.getRootNode().activeElement;
  pane.previous.disabled = content.page <= 0;
  pane.next.disabled = content.page >= content.pages - 1;
  if (focus === pane.next && pane.next.disabled) pane.previous.focus();
  if (focus === pane.previous && pane.previous.disabled) pane.next.focus();
  setText(
    pane.where,
    content.total
      ? `${count(content.total, "image")} · page ${content.page + 1} of ${content.pages}`
      : "no image",
  );
  pane.list.replaceChildren(...content.images.map((image, i) => makeTile(pane, image, buffers[i])));
  drawMarks(pane);
  const panes = Object.values(g.panes);
  g.legend.hidden = !panes.some(one => one.images.some(image => image.boxes?.length));
  const { then } = pane;
  pane.then = null;
  then?.(pane.images);
}

function freeImages(pane) {
  pane.urls.forEach(url => URL.revokeObjectURL(url));
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
        h("span", {}, image.error || "no image data"),
      ),
    );
  const url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  pane.urls.set(image.id, url);
  // the frame has the shape of the image, so that boxes in fractions lie where they belong
  const flat = image.width >= image.height;
  const fill = flat ? "width:100%" : "height:100%";
  const style = `aspect-ratio:${image.width || 1}/${image.height || 1};${fill}`;
  const picture = h(
    "span",
    { class: "nbp-picture", style },
    h("img", { src: url, alt: "", decoding: "async" }),
    boxesOver(image),
  );
  const tile = h(
    "button",
    {
      type: "button",
      class: "nbp-tile",
      title: image.id,
      onclick: () => pane.g.closeUp.open(inPane(pane), image.id),
      onkeydown: event => {
        if (event.key === "m") markImage(pane, image.id);
      },
    },
    picture,
    badge,
  );
  const mark = h(
    "button",
    { type: "button", class: "nbp-mark-button", onclick: () => markImage(pane, image.id) },
    "×",
  );
  pane.tiles.set(image.id, { tile, badge, mark, boxes: image.boxes || [] });
  return h("li", {}, tile, mark);
}

// What the close-up needs to know of the images around the one that it shows
function inPane(pane) {
  const { g, role } = pane;
  const place = id => pane.images.findIndex(image => image.id === id);
  return {
    markText: MARKS[role][1],
    images: () => pane.images,
    url: id => pane.urls.get(id),
    isMarked: id => (g.ctx.backend.get("marks") || {})[id] === MARKS[role][0],
    mark: id => markImage(pane, id),
    place: id => pane.tiles.get(id).tile.getBoundingClientRect(),
    focus: id => pane.tiles.get(id)?.tile.focus(),
    about: id => {
      const n = pane.page * PAGE + place(id) + 1;
      return `${pane.title.textContent} – ${n} of ${pane.total}: ${id}`;
    },
    ask: id => g.ctx.send({ type: "picture", image: id, trigger: g.trigger, class: g.cls }),
    hasNext: (id, by) =>
      pane.images[place(id) + by] !== undefined ||
      (pane.page + by >= 0 && pane.page + by < pane.pages),
    turn: (by, then) => {
      if (pane.then) return; // it is on its way
      pane.then = then;
      pane.turn(by);
    },
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
    const seen = boxes.length ? `, boxes: ${boxes.map(b => b.label).join(", ")}` : "";
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
  if (image === undefined) return;
  g.ctx.send({ type: "mark", image, mark });
  sayMarks(g);
}
