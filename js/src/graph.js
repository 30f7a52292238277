// The neighborhood of a trigger as a graph to hover, drag, zoom and walk with the keyboard

import { count, debounced, h, oncePerFrame, setText, touched, uid, whole } from "./dom.js";
import { drawGraph, readColors } from "./graph_draw.js";
import { graphKeys, graphPointer } from "./graph_input.js";
import { edgesFrom, firstThreshold, makeScene, setRoles } from "./graph_scene.js";
import { fitView, measureGraph, setHover, tell, zoomAt } from "./graph_view.js";

export function makeGraph(ctx, { onToggle, onHover }) {
  const g = {
    ctx,
    scene: null,
    hover: null,
    focus: null,
    shown: 0,
    onToggle,
    onHover,
    colors: {},
    pointers: new Map(),
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
      high: 1,
    },
  };
  graphElements(g);
  g.panel = h(
    "section",
    { class: "nbp-panel nbp-graph-panel", "aria-label": "Classes that appear together" },
    h("h3", {}, "Who appears with whom"),
    g.element,
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
  g.setGraph = graph => setGraph(g, graph);
  g.setChosen = chosen => {
    if (g.scene) {
      setRoles(g.scene, chosen);
      g.moves += 1; // another choice has other conflicts
      g.redraw();
      tell(g, g.hover ?? g.focus);
    }
  };
  g.hoverId = id =>
    setHover(g, id === null ? null : g.scene ? g.scene.id.indexOf(id) : null, false);
  return g;
}

function graphElements(g) {
  const hint = h(
    "p",
    { class: "nbp-hint", id: uid("keys") },
    touched.matches
      ? "Tap a class to choose it or leave it out, drag it to move it; " +
          "two fingers zoom and move the picture."
      : "Click a class to choose it; its conflicts are drawn. Drag to move; once the graph has " +
          "the focus: wheel or + − to zoom, 0 to fit, arrow keys to step through the classes, " +
          "Enter to choose.",
  );
  g.canvas = h("canvas", {
    tabindex: "0",
    role: "application",
    "aria-label": "Co-occurrence neighborhood",
    "aria-describedby": hint.id,
  });
  g.tip = h("p", { class: "nbp-tip", "aria-live": "polite" });
  g.slider = h("input", { type: "range", id: uid("threshold"), min: 0, step: 1 });
  g.said = h("output", { class: "nbp-hint", for: g.slider.id });
  const zoom = (label, text, fn) =>
    h(
      "button",
      {
        type: "button",
        class: "nbp-button nbp-small",
        "aria-label": label,
        title: label,
        onclick: fn,
      },
      text,
    );
  const middle = factor => zoomAt(g, g.view.width / 2, g.view.height / 2, factor);
  const buttons = h(
    "div",
    { class: "nbp-zoom" },
    zoom("Zoom in", "+", () => middle(1.4)),
    zoom("Zoom out", "−", () => middle(1 / 1.4)),
    zoom("Fit the graph", "Fit", () => fitView(g)),
  );
  const legend = h(
    "ul",
    { class: "nbp-legend", "aria-label": "Legend" },
    ["trigger", "class", "neighbor", "conflict"].map((role, i) =>
      h(
        "li",
        {},
        h("span", { class: `nbp-mark nbp-mark-${role}`, "aria-hidden": "true" }),
        ["trigger", "chosen", "not chosen", "conflict"][i],
      ),
    ),
  );
  g.every = h("input", { id: uid("every"), type: "checkbox" });
  g.every.onchange = () => setEvery(g);
  g.range = h(
    "span",
    { class: "nbp-slider", hidden: true },
    h("label", { for: g.slider.id }, "Edges"),
    g.slider,
    g.said,
  );
  g.element = h(
    "div",
    { class: "nbp-graph" },
    h("div", { class: "nbp-row" }, legend, buttons),
    h(
      "div",
      { class: "nbp-row nbp-edges" },
      h("span", { class: "nbp-field nbp-check" }, g.every, allEdgesLabel(g)),
      g.range,
    ),
    h("div", { class: "nbp-canvas" }, g.canvas),
    g.tip,
    hint,
  );
}

function allEdgesLabel(g) {
  return h("label", { for: g.every.id }, "All pairs, not only those of a class that is pointed at");
}

// All edges are a hairball: first those of the trigger and between classes that are chosen
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
    `Co-occurrence neighborhood of ${g.scene.name[g.scene.trigger] ?? ""}: ` +
      `${count(g.scene.n, "class", "classes")}, ${count(g.scene.m, "edge")}`,
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
    `${whole(g.shown)} of ${whole(g.scene.m)}, from ${count(threshold ?? 0, "image")} on`,
  );
  g.slider.setAttribute("aria-valuetext", g.said.textContent);
  g.redraw();
}
