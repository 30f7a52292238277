// What the mouse, fingers and keys do to the graph

import {
  fitView,
  keepInView,
  moved,
  nodeAt,
  setHover,
  tell,
  toUnit,
  zoomAt,
} from "./graph_view.js";

const STILL = { mouse: 4, pen: 6, touch: 10 }; // pixels that a press may move and still be a click
const FINGER = 22; // pixels around a tap in which the nearest node is meant

// A press that does not move is a click; one that moves drags the node under it, or the whole
// picture; two pinch.
export function graphPointer(g) {
  const { canvas, pointers, ctx } = g;
  const at = event => [event.offsetX, event.offsetY];
  ctx.life.listen(canvas, "pointerdown", event => {
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
      node: pointers.size ? null : nodeAt(g, x, y),
    });
  });
  ctx.life.listen(canvas, "pointermove", event => {
    const [x, y] = at(event);
    const p = pointers.get(event.pointerId);
    if (!p) return setHover(g, nodeAt(g, x, y));
    if (Math.hypot(x - p.x0, y - p.y0) > (STILL[p.kind] ?? 4)) p.moved = true;
    if (pointers.size === 2) pinch(g, p, x, y);
    else if (p.moved) drag(g, p, x, y);
    Object.assign(p, { x, y });
  });
  const up = event => {
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
  // the wheel scrolls the page unless the graph has the focus, so that nobody gets stuck on it
  ctx.life.listen(
    canvas,
    "wheel",
    event => {
      if (canvas.getRootNode().activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      zoomAt(g, ...at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    },
    { passive: false },
  );
}

// A finger on the picture as a whole scrolls the page up and down, so that nobody gets stuck on it.
// It is kept here when it is on a node, when there are two, and when the picture was made larger
// than its frame.
function fingers(g) {
  const keep = event => {
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
    event => {
      if (event.cancelable && event.touches.length > 1) event.preventDefault();
    },
    { passive: false },
  );
}

// The browser has taken the finger to scroll the page
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
  const other = [...g.pointers.values()].find(q => q !== p);
  const before = Math.hypot(p.x - other.x, p.y - other.y);
  const after = Math.hypot(x - other.x, y - other.y);
  p.moved = other.moved = true;
  p.node = other.node = null; // the finger that stays longer moves the picture
  g.view.dx += (x - p.x) / 2;
  g.view.dy += (y - p.y) / 2;
  if (before > 0) zoomAt(g, (x + other.x) / 2, (y + other.y) / 2, after / before);
}

function choose(g, node) {
  g.focus = node;
  tell(g, node);
  g.onHover?.(g.scene.id[node]); // a finger does not point before it presses
  if (node !== g.scene.trigger) g.onToggle(g.scene.id[node]);
  g.redraw();
}

export function graphKeys(g) {
  const step = by => {
    const order = g.scene.byImportance;
    const now = g.focus === null ? -1 : g.scene.place.get(g.focus);
    g.focus = order[(now + by + order.length + (now < 0 && by < 0 ? 1 : 0)) % order.length];
    g.hover = null;
    keepInView(g, g.focus);
    tell(g, g.focus);
    g.onHover?.(g.scene.id[g.focus]);
  };
  const middle = factor => zoomAt(g, g.view.width / 2, g.view.height / 2, factor);
  const keys = {
    ArrowRight: () => step(1),
    ArrowDown: () => step(1),
    ArrowLeft: () => step(-1),
    ArrowUp: () => step(-1),
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
    },
  };
  g.ctx.life.listen(g.canvas, "keydown", event => {
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
