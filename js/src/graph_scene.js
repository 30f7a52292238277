// What the graph shows, without the canvas: strongest edges first, neighbors of each node, who is
// important.

import { count, whole } from "./dom.js";

const FIRST_EDGES = 400; // more are not shown until the slider asks for them

export function makeScene(graph, names) {
  const n = graph.id.length;
  const m = graph.source.length;
  const byOverlap = Array.from({ length: m }, (_, e) => e).sort(
    (a, b) => graph.overlaps[b] - graph.overlaps[a] || a - b,
  );
  const scene = {
    n,
    m,
    id: graph.id,
    x: Float64Array.from(graph.x),
    y: Float64Array.from(graph.y),
    role: [...graph.role],
    source: byOverlap.map(e => graph.source[e]),
    target: byOverlap.map(e => graph.target[e]),
    overlaps: byOverlap.map(e => graph.overlaps[e]),
    conflict: byOverlap.map(e => graph.conflict[e]),
    name: graph.id.map(names.of),
    near: Array.from({ length: n }, () => []),
  };
  for (let e = 0; e < m; e++) {
    scene.near[scene.source[e]].push(e);
    scene.near[scene.target[e]].push(e);
  }
  scene.trigger = scene.role.indexOf("trigger");
  // images in common with the trigger: what the size of a node and the order of the labels say
  scene.shared = new Float64Array(n);
  for (const e of scene.near[scene.trigger] || [])
    scene.shared[otherEnd(scene, e, scene.trigger)] = scene.overlaps[e];
  const most = Math.max(1, ...scene.shared);
  const least = n > 300 ? 2 : 3.5; // many nodes would hide each other
  scene.radius = Float64Array.from(scene.shared, (s, i) =>
    i === scene.trigger ? 9 : least + 5 * Math.sqrt(s / most),
  );
  scene.steps = [...new Set(scene.overlaps)].sort((a, b) => a - b); // thresholds worth offering
  rankNodes(scene);
  return scene;
}

export function otherEnd(scene, edge, node) {
  return scene.source[edge] === node ? scene.target[edge] : scene.source[edge];
}

// Trigger, chosen classes, others; within each the most images in common first
function rankNodes(scene) {
  const rank = { trigger: 0, class: 1, neighbor: 2 };
  scene.byImportance = Array.from({ length: scene.n }, (_, i) => i).sort(
    (a, b) =>
      rank[scene.role[a]] - rank[scene.role[b]] || scene.shared[b] - scene.shared[a] || a - b,
  );
  scene.place = new Map(scene.byImportance.map((node, i) => [node, i]));
}

// Color by what is picked now, which may differ from the set that was found
export function setRoles(scene, chosen) {
  scene.role = scene.id.map((id, i) =>
    i === scene.trigger ? "trigger" : chosen.has(id) ? "class" : "neighbor",
  );
  rankNodes(scene);
}

// Edges are sorted, so a threshold is how many of the first are shown.
export function edgesFrom(scene, threshold) {
  let low = 0;
  let high = scene.m;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (scene.overlaps[middle] >= threshold) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function firstThreshold(scene) {
  if (scene.m <= FIRST_EDGES) return scene.steps[0] ?? 1;
  const cut = scene.overlaps[FIRST_EDGES];
  return scene.steps.find(step => step > cut) ?? scene.steps[scene.steps.length - 1];
}

// Without being asked for, only edges of the trigger, and conflicts between classes that are chosen
export function isDrawn(scene, edge) {
  const ends = [scene.source[edge], scene.target[edge]];
  const between = ends.every(end => scene.role[end] === "class");
  return ends.includes(scene.trigger) || (between && Boolean(scene.conflict[edge]));
}

const ROLES = { trigger: "the trigger", class: "chosen class", neighbor: "not chosen" };

export function describeNode(scene, node, names) {
  const parts = [`${scene.name[node]}, ${ROLES[scene.role[node]]}`];
  const images = names.imagesOf(scene.id[node]);
  if (images !== null) parts.push(count(images, "image"));
  if (node !== scene.trigger)
    parts.push(`${whole(scene.shared[node])} in common with ${scene.name[scene.trigger]}`);
  const conflicts = scene.near[node].filter(e => scene.conflict[e]).length;
  if (conflicts) parts.push(`conflicts with ${count(conflicts, "class", "classes")}`);
  return parts.join(" · ");
}
