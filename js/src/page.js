// The picker as a page of its own, over results that were computed before and stand in the page as
// JSON

import { staticBackend } from "./backend.js";
import { makePicker } from "./picker.js";

const given = JSON.parse(document.getElementById("picker-data").textContent);
makePicker(staticBackend(given), document.getElementById("picker"));
