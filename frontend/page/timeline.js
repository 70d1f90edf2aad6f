/** The attempts of a job on a line of time, and in words. */

import { draw, make } from "./dom.js"
import { stretches } from "./story.js"
import { span, when } from "./times.js"

/** @typedef {import("./story.js").Stretch} Stretch */

const WIDTH = 1000
const THINNEST = 4

/** @type {Record<string, string>} */
const ENDS = {
  running: "taken by a worker",
  queued: "handed back",
  scheduled: "put off",
  retrying: "failed, to be tried again",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
  expired: "expired",
}

/**
 * @param {Iterable<import("../src/fold.js").JobEvent>} events
 * @param {import("../src/job.js").Job} job
 * @returns {(Node)[]}
 */
export function timeline(events, job) {
  const told = stretches(events, job)
  if (told.length === 0) return []
  return [strip(told), make("ol", { class: "attempts" }, ...told.map(line))]
}

/** @param {Stretch} one */
function line(one) {
  const name = one.kind === "running" ? `Attempt ${one.attempt}` : "Waiting"
  const end = one.to === null ? "under way" : (ENDS[one.outcome] ?? one.outcome)
  const who = one.worker && one.kind === "running" ? make("span", { class: "hint" }, ` on ${one.worker}`) : null
  return make(
    "li",
    { "data-kind": one.kind, "data-outcome": one.outcome || "open" },
    make("span", { class: "what" }, name, who),
    make("span", { class: "hint" }, when(one.from)),
    make("span", { class: "took" }, span(one.from, one.to ?? Date.now())),
    make("span", { class: "end" }, end, one.error && make("span", { class: "hint" }, ` ${one.error}`)),
  )
}

/**
 * The same to scale; what it says is in the words below it.
 * @param {Stretch[]} told
 */
function strip(told) {
  const start = Date.parse(told[0].from)
  const end = Math.max(start + 1, ...told.map(({ to }) => (to === null ? Date.now() : Date.parse(to))))
  const x = (/** @type {number} */ at) => ((at - start) / (end - start)) * WIDTH
  const bars = told.map((one) => {
    const from = x(Date.parse(one.from))
    const to = x(one.to === null ? end : Date.parse(one.to))
    return draw("rect", { x: from, y: 0, width: Math.max(THINNEST, to - from), height: 12, rx: 2, "data-kind": one.kind, "data-outcome": one.outcome || "open" })
  })
  return draw("svg", { class: "strip", viewBox: `0 0 ${WIDTH} 12`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars)
}
