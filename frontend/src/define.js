/** Registers `<milepost-progress>` and `<milepost-job-list>`; import it once on a page. Where there is no page it does nothing. */

import { ProgressElement } from "./element.js"
import { JobListElement } from "./list.js"

export { JobListElement, ProgressElement }

const registry = globalThis.customElements
for (const [name, element] of Object.entries({ "milepost-progress": ProgressElement, "milepost-job-list": JobListElement })) {
  if (!registry?.get(name)) registry?.define(name, element)
}
