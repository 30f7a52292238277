// Evidence: images of a class without the trigger on the left, with it on the right. A click marks
// a wrong one.

import { count, h, oncePerFrame, setText, svg, uid } from "./dom.js";

const MARKS = {
  poison: ["not_trigger", "not a valid trigger image"],
  clean: ["trigger_visible", "trigger visible"],
};

export function makeGallery(ctx) {
  const { backend, life, choice } = ctx;
  const g = { ctx, cls: null, trigger: null, seen: false, undo: [] };
  g.select = h("select", { id: uid("evidence") });
  g.select.onchange = () => showClass(g, Number(g.select.value));
  g.undoButton = h(
    "button",
    { type: "button", class: "nbp-button nbp-small", onclick: () => undoMark(g) },
    "Undo last mark",
  );
  g.said = h("span", { class: "nbp-hint", role: "status" });
  g.panes = { clean: makePane(g, "clean"), poison: makePane(g, "poison") };
  g.hint = h("p", { class: "nbp-empty" }, "Pick a trigger to look at its images.");
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
      "A click (or Enter) marks an image that is not what it stands for; " +
        "marked images are left out. ",
      h("span", { class: "nbp-key nbp-key-trigger" }, "trigger"),
      " ",
      h("span", { class: "nbp-key nbp-key-class" }, "class"),
    ),
    h("div", { class: "nbp-halves" }, g.panes.clean.element, g.panes.poison.element),
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
  const pane = { g, role, page: 0, pages: 0, urls: [], tiles: new Map(), asked: null, shown: null };
  pane.title = h("h4", { id: uid(role) });
  pane.list = h("ul", { class: "nbp-tiles", "aria-labelledby": pane.title.id });
  pane.where = h("span", { class: "nbp-hint", role: "status" });
  const turn = by => {
    if (pane.page + by < 0 || pane.page + by >= pane.pages) return;
    pane.page += by;
    askPage(pane);
  };
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
  g.element.hidden = !backend.get("options").has_images;
  g.hint.hidden = trigger !== null;
  g.body.hidden = trigger === null;
  if (g.element.hidden || trigger === null) return;
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
    pane.asked = null;
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
  });
}

// An answer to another view, or to a page that was left, is not for this pane.
function takePage(g, content, buffers) {
  const pane = g.panes[content.role];
  if (!pane || pane.asked !== `${content.trigger}|${content.class}|${content.page}`) return;
  freeImages(pane);
  pane.pages = content.pages;
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
}

function freeImages(pane) {
  pane.urls.forEach(url => URL.revokeObjectURL(url));
  pane.urls = [];
  pane.tiles.clear();
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
  pane.urls.push(url);
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
      onclick: () => markImage(pane, image.id),
    },
    picture,
    badge,
  );
  pane.tiles.set(image.id, { tile, badge, boxes: image.boxes || [] });
  return h("li", {}, tile);
}

function boxesOver(image) {
  const rectangles = (image.boxes || []).map(b =>
    svg(
      "rect",
      {
        x: b.x0,
        y: b.y0,
        width: Math.max(0, b.x1 - b.x0),
        height: Math.max(0, b.y1 - b.y0),
        class: `nbp-box nbp-box-${b.kind}`,
        "vector-effect": "non-scaling-stroke",
      },
      svg("title", {}, b.label),
    ),
  );
  return svg(
    "svg",
    { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...rectangles,
  );
}

function drawMarks(pane) {
  const marks = pane.g.ctx.backend.get("marks") || {};
  for (const [id, { tile, badge, boxes }] of pane.tiles) {
    const marked = marks[id] === MARKS[pane.role][0];
    const text = MARKS[pane.role][1];
    badge.hidden = !marked;
    setText(badge, marked ? text : "");
    tile.setAttribute("aria-pressed", marked ? "true" : "false");
    const seen = boxes.length ? `, boxes: ${boxes.map(b => b.label).join(", ")}` : "";
    tile.setAttribute("aria-label", `${pane.role} image ${id}${seen}. Mark as ${text}`);
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
