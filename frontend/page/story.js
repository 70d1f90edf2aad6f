/** What a history of events tells: the attempts, and what was between them. Pure. */

/** @typedef {import("../src/fold.js").JobEvent} JobEvent */
/** @typedef {import("../src/job.js").Job} Job */

/**
 * A stretch of a job's life. `to` is null while it goes on.
 * @typedef {{kind: "waiting" | "running", attempt: number, from: string, to: string | null, worker: string | null,
 *   outcome: string, error: string}} Stretch
 */

/**
 * @param {Iterable<JobEvent>} events  in order; those that are no `status` and no `end` are passed over
 * @param {Job} job
 * @returns {Stretch[]} without a hole from the first to the last event
 */
export function stretches(events, job) {
  /** @type {Stretch[]} */
  const told = []
  if (job.created_at) told.push(stretch("waiting", 0, job.created_at))
  for (const event of events) {
    if (event.type !== "status" && event.type !== "end") continue
    const last = told.at(-1)
    const kind = event.status === "running" ? "running" : "waiting"
    const goesOn = event.type === "status" && last && last.to === null && last.kind === kind && (kind === "waiting" || last.attempt === event.attempt)
    if (goesOn) continue // it was asked to stop, or is due now: no other stretch
    if (last && last.to === null) finish(last, event)
    if (event.type === "status") told.push(stretch(kind, event.attempt, event.at ?? "", event.worker ?? null))
  }
  const last = told.at(-1)
  if (last && last.to === null && job.done) Object.assign(last, { to: job.finished_at, outcome: job.status })
  return told
}

/**
 * @param {Stretch["kind"]} kind
 * @param {number} attempt
 * @param {string} from
 * @param {string | null} [worker]
 * @returns {Stretch}
 */
function stretch(kind, attempt, from, worker = null) {
  return { kind, attempt, from, to: null, worker, outcome: "", error: "" }
}

/**
 * @param {Stretch} last
 * @param {any} event
 */
function finish(last, event) {
  last.to = event.at ?? last.from
  last.outcome = event.status
  last.error = event.error?.message ?? ""
}
