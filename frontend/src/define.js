/** Registers `<milepost-progress>`; import it once on a page. Where there is no page it does nothing. */

import { define } from "./element-base.js"
import { ProgressElement } from "./element.js"

export { ProgressElement }

define("milepost-progress", ProgressElement)
