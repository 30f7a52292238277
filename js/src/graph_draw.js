// Drawing the graph on a canvas. Edges of one look are one path, since a path for each edge takes
// ten times as long.

import { isDrawn, otherEnd } from "./graph_scene.js";
import { toScreen } from "./graph_view.js";

const WIDTHS = [0.6, 1.2, 2.2, 3.6]; // pixels, weak to strong
const SHADES = [0.6, 0.9, 1.4, 2]; // and how dark, where all lines are thin
const WIDE = 1500; // with more edges all lines are hairlines: wide ones take ten times as long
const DASHED = 700; // with more edges only those of the node in focus are dashed
const MOVING = 1500; // of the strongest edges, drawn while the picture moves
const LABELS = 60; // names, at most

export function readColors(element) {
  const style = getComputedStyle(element);
  const get = name => style.getPropertyValue(`--nbp-${name}`).trim();
  return {
    trigger: get("trigger"),
    class: get("chosen"),
    neighbor: get("other"),
    edge: get("edge"),
    conflict: get("conflict"),
    text: get("text"),
    ground: get("ground"),
    focus: get("focus"),
    font: style.fontFamily,
  };
}

export function drawGraph(g) {
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

// Pointing at another node leaves the edges as they are, so they are kept as a picture of their
// own.
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
    g.every.checked,
  ].join();
  if (g.layer?.key === key && g.layer.scene === scene) return g.layer.canvas;
  const layer = g.layer?.canvas || document.createElement("canvas");
  layer.width = canvas.width; // also empties it
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
  return upTo(scene.m).filter(e => isDrawn(scene, e));
}

function placeNodes({ scene, view, px, py }) {
  for (let i = 0; i < scene.n; i++) [px[i], py[i]] = toScreen(view, scene.x[i], scene.y[i]);
}

// One path for each width and each of plain/conflict
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
  paths.forEach((pair, i) =>
    pair.forEach((path, isConflict) => {
      context.globalAlpha = Math.min(1, thin ? alpha * SHADES[i] : alpha);
      const width = thin ? 1 / view.ratio : WIDTHS[i];
      strokeEdges(
        context,
        path,
        width,
        isConflict ? colors.conflict : colors.edge,
        isConflict && !quick && shown <= DASHED,
      );
    }),
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

// The trigger is a diamond, a chosen class a full disc, any other a ring: the shape says it without
// the color. One path for each role, dimmed or not; the important ones come last and lie on top.
function drawNodes({ scene, colors, px, py, view }, context, focus) {
  const grow = Math.min(2, Math.max(0.7, Math.sqrt(view.zoom)));
  const near =
    focus === null
      ? null
      : new Set(scene.near[focus].map(e => otherEnd(scene, e, focus)).concat(focus));
  const paths = {
    neighbor: [new Path2D(), new Path2D()],
    class: [new Path2D(), new Path2D()],
    trigger: [new Path2D(), new Path2D()],
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

// The most important names first, each only where no other name is yet
function drawLabels(g, context, focus) {
  const { scene, colors, view } = g;
  const taken = [];
  context.font = `12px ${colors.font}`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const near = focus === null ? [] : scene.near[focus].map(e => otherEnd(scene, e, focus));
  const first =
    focus === null
      ? []
      : [focus, ...near.sort((a, b) => scene.place.get(a) - scene.place.get(b)).slice(0, 25)];
  const rest = focus === null ? scene.byImportance.slice(0, 4 * LABELS) : [scene.trigger];
  let drawn = 0;
  for (const i of new Set([...first, ...rest])) {
    if (i < 0 || drawn >= LABELS) continue;
    const box = labelBox(g, context, i, view);
    if (!box || taken.some(t => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1]))
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

// [left, top, right, bottom] of a label beside its node, on the side where there is room; null
// outside the canvas
function labelBox({ px, py, scene, short, widths }, context, i, view) {
  if (px[i] < 0 || py[i] < 0 || px[i] > view.width || py[i] > view.height) return null;
  if (short[i] === undefined)
    short[i] = scene.name[i].length > 24 ? `${scene.name[i].slice(0, 23)}…` : scene.name[i];
  if (widths[i] === undefined) widths[i] = context.measureText(short[i]).width;
  const gap = scene.radius[i] + 4;
  const wide = widths[i] + 4;
  const left = px[i] + gap + wide > view.width ? px[i] - gap - wide : px[i] + gap;
  return [Math.max(0, left), py[i] - 8, left + wide, py[i] + 8];
}
