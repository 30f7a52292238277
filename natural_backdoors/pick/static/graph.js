// The neighborhood of a trigger as a graph to hover, drag, zoom and walk with the keyboard

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
    pointers: new Map(),
    moves: 0,
    moving: false,
    view: { zoom: 1, dx: 0, dy: 0, width: 0, height: 0, ratio: 1, left: 0, top: 0, side: 1, high: 1 },
  };
  graphElements(g);
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
      g.redraw();
      tell(g, g.hover ?? g.focus);
    }
  };
  g.hoverId = id => setHover(g, id === null ? null : g.scene ? g.scene.id.indexOf(id) : null, false);
  return g;
}

function graphElements(g) {
  const hint = h(
    "p",
    { class: "nbp-hint", id: uid("keys") },
    nbpTouched.matches
      ? "Tap a class to choose it or leave it out, drag it to move it; two fingers zoom and move the picture."
      : "Click a class to choose it. Drag to move; once the graph has the focus: " +
          "wheel or + − to zoom, 0 to fit, arrow keys to step through the classes, Enter to choose.",
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
      { type: "button", class: "nbp-button nbp-small", "aria-label": label, title: label, onclick: fn },
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
  g.element = h(
    "div",
    { class: "nbp-graph" },
    h("div", { class: "nbp-row" }, legend),
    h(
      "div",
      { class: "nbp-row" },
      h("span", { class: "nbp-slider" }, h("label", { for: g.slider.id }, "Edges"), g.slider, g.said),
      buttons,
    ),
    h("div", { class: "nbp-canvas" }, g.canvas),
    g.tip,
    hint,
  );
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
  setText(g.said, `${whole(g.shown)} of ${whole(g.scene.m)}, from ${count(threshold ?? 0, "image")} on`);
  g.slider.setAttribute("aria-valuetext", g.said.textContent);
  g.redraw();
}

// A canvas has as many pixels as the screen, and is drawn in CSS pixels.
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
    high: Math.max(1, view.height - 48),
  });
  canvas.width = Math.round(view.width * view.ratio);
  canvas.height = Math.round(view.height * view.ratio);
}

function fitView(g) {
  Object.assign(g.view, { zoom: 1, dx: 0, dy: 0 });
  g.redraw();
}

function zoomAt(g, x, y, factor) {
  const { view } = g,
    zoom = Math.min(20, Math.max(0.5, view.zoom * factor)),
    real = zoom / view.zoom;
  Object.assign(view, { zoom, dx: x - (x - view.dx) * real, dy: y - (y - view.dy) * real });
  moved(g);
}

// Few edges while it moves, all of them as soon as it rests
function moved(g) {
  g.moving = true;
  g.rest();
  g.redraw();
}

function nodeAt(g, x, y, least = 0) {
  let best = null,
    nearest = Infinity;
  for (let i = 0; i < (g.scene?.n ?? 0); i++) {
    const reach = Math.max(least, g.scene.radius[i] + 6),
      d = (g.px[i] - x) ** 2 + (g.py[i] - y) ** 2;
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
  const nothing = `${nbpTouched.matches ? "Tap" : "Point at"} a class to see its counts.`;
  setText(g.tip, node === null ? nothing : describeNode(g.scene, node, g.ctx.names));
}
