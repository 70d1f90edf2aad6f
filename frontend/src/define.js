/** Registers `<milepost-progress>`; import it once on a page. */

import { ProgressElement } from "./element.js"

if (!customElements.get("milepost-progress")) customElements.define("milepost-progress", ProgressElement)
