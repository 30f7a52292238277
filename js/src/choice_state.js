// What is picked now. A click shows at once; the answer of the backend settles it.

import { debounced } from "./dom.js";

const SETTLE = 1500; // milliseconds after which an unanswered click is given up

export function makeChoice(ctx) {
  const { backend, life } = ctx;
  const listeners = [];
  const c = { pending: null, trigger: null };
  const tell = () => listeners.forEach(fn => fn());
  const give = debounced(life, SETTLE, () => {
    c.pending = null;
    tell();
  });
  const same = (a, b) =>
    a.trigger === b.trigger && a.target === b.target && String(a.classes) === String(b.classes);
  c.get = () => c.pending || { trigger: null, classes: [], target: null, ...backend.get("choice") };
  c.listen = fn => listeners.push(fn);
  c.choose = (classes, target) => {
    const kept = classes.includes(target) ? target : null;
    c.pending = { ...c.get(), classes, target: kept };
    ctx.send({ type: "choose", classes, target: kept });
    give();
    tell();
  };
  c.toggle = id => {
    const { classes, target, trigger } = c.get();
    if (id === trigger) return;
    c.choose(classes.includes(id) ? classes.filter(i => i !== id) : [...classes, id], target);
  };
  c.pick = id => {
    // another trigger; its row is marked before the answer is there
    c.trigger = id;
    c.pending = null;
    ctx.send({ type: "trigger", id });
    tell();
  };
  c.wanted = () => c.trigger ?? c.get().trigger;
  life.on(backend, ["choice"], () => {
    const now = backend.get("choice");
    if (now.trigger === c.trigger) c.trigger = null;
    if (c.pending && (now.trigger !== c.pending.trigger || same(now, c.pending))) {
      c.pending = null;
      give.cancel();
    }
    tell();
  });
  life.on(backend, ["status"], () => {
    // a trigger that could not be shown is not waited for
    if (c.trigger !== null && backend.get("status").state === "error") {
      c.trigger = null;
      tell();
    }
  });
  return c;
}
