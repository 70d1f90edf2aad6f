/** Registers `<milepost-job-list>`, and `<milepost-progress>`, of which it is made; import it once on a page. */

import { ProgressElement } from "./define.js"
import { define } from "./element-base.js"
import { JobListElement } from "./list.js"

export { JobListElement, ProgressElement }

define("milepost-job-list", JobListElement)
