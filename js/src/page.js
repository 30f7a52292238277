// The picker as a page of its own, over results that were computed before and stand in the page as
// JSON. Nothing happens in a page that holds none.

import { staticBackend } from "./backend.js";
import { makePicker } from "./picker.js";

export function startPage() {
  const given = document.getElementById("picker-data");
  if (given === null) return;
  if (window.parent !== window) document.documentElement.dataset.framed = "";
  makePicker(staticBackend(JSON.parse(given.textContent)), document.getElementById("picker"));
  if (window.parent !== window) liveInside();
}

// In a frame of another page: that page is told how high this one is, so that it need not scroll
// by itself, and may say whether it is dark.
function liveInside() {
  const body = document.body;
  const tell = () => window.parent.postMessage({ nbpHeight: body.scrollHeight }, "*");
  new ResizeObserver(tell).observe(body);
  addEventListener("message", ({ source, data }) => {
    if (source === window.parent && ["dark", "light"].includes(data?.nbpTheme))
      document.documentElement.dataset.theme = data.nbpTheme;
  });
  tell();
}
