/** Registers `<milepost-progress>` and `<milepost-job-list>`; import it once on a page. */

import { ProgressElement } from "./element.js"
import { JobListElement } from "./list.js"

for (const [name, element] of Object.entries({ "milepost-progress": ProgressElement, "milepost-job-list": JobListElement })) {
  if (!customElements.get(name)) customElements.define(name, element)
}
