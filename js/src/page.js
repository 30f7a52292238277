// The picker as a page of its own, over results that were computed before and stand in the page as
// JSON. Nothing happens in a page that holds none.

import { staticBackend } from "./backend.js";
import { makePicker } from "./picker.js";

export function startPage() {
  const given = document.getElementById("picker-data");
  if (given === null) return;
  makePicker(staticBackend(JSON.parse(given.textContent)), document.getElementById("picker"));
}
