// The picker as a widget: what anywidget asks of a module. `staticBackend` takes the kernel's place
// where there is none.

import { kernelBackend, staticBackend } from "./backend.js";
import { makePicker } from "./picker.js";

function render({ model, el }) {
  return makePicker(kernelBackend(model), el);
}

export { staticBackend };
export default { render };
