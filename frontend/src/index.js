/** What a page imports. `define.js` registers the element; importing this registers nothing. */

export { Client, sharedClient } from "./client.js"
export { fold } from "./fold.js"
export { Problem } from "./http.js"
export { readJob, TERMINAL } from "./job.js"
export { SseDecoder } from "./sse.js"
