// One image as large as the window: boxes with names, labels, the next and the one before, and a
// button that marks it. The arrows go on to the next page of images.

import { h, setText, svg, uid } from "./dom.js";

// What a list of images offers is made in gallery.js (`inPane`)
export function makeCloseUp(ctx) {
  const c = { ctx, list: null, id: null, url: null };
  c.picture = h("div", { class: "nbp-large" });
  c.title = h("h3", { id: uid("large") });
  c.labels = h("p", { class: "nbp-hint" });
  const button = (text, label, onclick) =>
    h("button", { type: "button", class: "nbp-button", "aria-label": label, onclick }, text);
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
        button("Close", "Close", () => c.element.close()),
      ),
    ),
  );
  const { life } = ctx;
  life.listen(c.element, "click", event => {
    if (event.target === c.element) c.element.close(); // beside the picture
  });
  life.listen(c.element, "close", () => {
    freeLarge(c);
    c.list?.focus(c.id);
    c.list = null;
  });
  life.listen(c.element, "keydown", event => closeUpKey(c, event));
  life.add(
    ctx.backend.onMessage((content, buffers) => {
      // not for a window that has been closed meanwhile: nobody would let the picture go
      if (c.list && content.type === "picture" && content.image.id === c.id)
        takePicture(c, content, buffers);
    }),
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

// In a frame that is as high as its page, the middle of the window is not what is in sight
export function framed() {
  return document.documentElement.dataset.framed !== undefined;
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
  const to = images.findIndex(image => image.id === c.id) + by;
  if (images[to]) showImage(c, images[to].id);
  else c.list.turn(by, shown => shown && showImage(c, (by > 0 ? shown[0] : shown.at(-1)).id));
}

function showImage(c, id) {
  c.id = id;
  const image = c.list.images().find(one => one.id === id);
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
  const names = (image.boxes || []).map(box =>
    h(
      "span",
      {
        class: `nbp-box-name nbp-box-name-${box.kind}`,
        style: `left:${100 * box.x0}%;top:${100 * box.y0}%`,
      },
      box.label,
    ),
  );
  const picture = h(
    "span",
    { class: "nbp-picture", style: `aspect-ratio:${shape};width:${wide}` },
    url ? h("img", { src: url, alt: image.id }) : null,
    boxesOver(image),
    names,
  );
  c.picture.replaceChildren(image.error ? h("p", { class: "nbp-alert" }, image.error) : picture);
}

export function boxesOver(image) {
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
