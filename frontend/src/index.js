/** The client: what a page imports to submit, look and watch. Registers nothing. */

export { Milepost, sharedClient } from "./client.js"
export { fold } from "./fold.js"
export { Problem } from "./http.js"
export { readJob, TERMINAL } from "./job.js"
