// What part of the graph is seen: where nodes lie on the canvas, zoom, and which node is pointed at

import { setText, touched } from "./dom.js";
import { describeNode } from "./graph_scene.js";

// Where node i is on the canvas: the unit square, with a margin, then zoomed and moved
export function toScreen(view, x, y) {
  return [
    view.dx + view.zoom * (view.left + x * view.side),
    view.dy + view.zoom * (view.top + y * view.high),
  ];
}

export function toUnit(view, sx, sy) {
  return [
    ((sx - view.dx) / view.zoom - view.left) / view.side,
    ((sy - view.dy) / view.zoom - view.top) / view.high,
  ];
}

// A canvas has as many pixels as the screen, and is drawn in CSS pixels.
export function measureGraph(g) {
  const { view, canvas } = g;
  view.width = canvas.clientWidth;
  view.height = canvas.clientHeight;
  view.ratio = window.devicePixelRatio || 1;
  const margin = Math.min(60, view.width * 0.1);
  Object.assign(view, {
    left: margin,
    top: 24,
    side: Math.max(1, view.width - 2 * margin),
    high: Math.max(1, view.height - 48),
  });
  canvas.width = Math.round(view.width * view.ratio);
  canvas.height = Math.round(view.height * view.ratio);
}

export function fitView(g) {
  Object.assign(g.view, { zoom: 1, dx: 0, dy: 0 });
  g.redraw();
}

export function zoomAt(g, x, y, factor) {
  const { view } = g;
  const zoom = Math.min(20, Math.max(0.5, view.zoom * factor));
  const real = zoom / view.zoom;
  Object.assign(view, { zoom, dx: x - (x - view.dx) * real, dy: y - (y - view.dy) * real });
  moved(g);
}

// Few edges while it moves, all of them as soon as it rests
export function moved(g) {
  g.moving = true;
  g.rest();
  g.redraw();
}

export function nodeAt(g, x, y, least = 0) {
  let best = null;
  let nearest = Infinity;
  for (let i = 0; i < (g.scene?.n ?? 0); i++) {
    const reach = Math.max(least, g.scene.radius[i] + 6);
    const d = (g.px[i] - x) ** 2 + (g.py[i] - y) ** 2;
    if (d < reach * reach && d < nearest) [best, nearest] = [i, d];
  }
  return best;
}

export function setHover(g, node, tellOthers = true) {
  if (node === g.hover || node < 0) return;
  g.hover = node;
  g.canvas.style.cursor = node === null ? "grab" : "pointer";
  tell(g, node ?? g.focus);
  if (tellOthers) g.onHover?.(node === null ? null : g.scene.id[node]);
  g.redraw();
}

export function tell(g, node) {
  if (!g.scene) return;
  const nothing = `${touched.matches ? "Tap" : "Point at"} a class to see its counts.`;
  setText(g.tip, node === null ? nothing : describeNode(g.scene, node, g.ctx.names));
}

// Stepping to a node outside the picture moves the picture
export function keepInView(g, node) {
  const { view } = g;
  const [x, y] = toScreen(view, g.scene.x[node], g.scene.y[node]);
  if (x < 10 || x > view.width - 10) view.dx += view.width / 2 - x;
  if (y < 10 || y > view.height - 10) view.dy += view.height / 2 - y;
}
