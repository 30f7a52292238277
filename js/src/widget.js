// The picker as a widget, which is what anywidget asks of a module, and the start of the page that
// needs no kernel. `staticBackend` takes the kernel's place where there is none.

import { kernelBackend, staticBackend } from "./backend.js";
import { startPage } from "./page.js";
import { makePicker } from "./picker.js";
import { largestSize, planSplit } from "./plan.js";

function render({ model, el }) {
  return makePicker(kernelBackend(model), el);
}

startPage();

export { largestSize, planSplit, staticBackend };
export default { render };
