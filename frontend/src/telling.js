/**
 * What one watch makes of what is said of its jobs: updates, each news, and one end.
 * @module
 */

import { CONNECTING } from "./client.js"
import { isEnd } from "./fold.js"
import { Problem } from "./http.js"

/** @typedef {import("./hub.js").Take} Take */
/** @typedef {import("./watch.js").Put} Put */

/**
 * @param {string[]} keys
 * @param {boolean} many
 * @param {Put} put  takes no more after the end
 * @returns {Take}
 */
export function teller(keys, many, put) {
  /** The jobs that have not ended, of many; null: it is about one job. @type {Set<string> | null} */
  const left = many ? new Set(keys) : null
  /** @type {Record<string, number>} */
  const endings = {}
  let last = CONNECTING

  /** All jobs of many have ended, which a stream says of all its jobs only. */
  const end = () => {
    const jobs = Object.values(endings).reduce((sum, one) => sum + one, 0)
    put({ job: null, event: { type: "end", jobs, by_status: endings }, connection: "ended", problem: null })
  }
  if (left?.size === 0) queueMicrotask(end)

  return ({ job, event: said, connection, problem, refusal }) => {
    let event = said ?? null
    const id = event?.job_id
    if (!left) job ??= last.job
    if (event && isEnd(event)) {
      if (left && id) {
        const { status = "missing" } = event
        endings[status] = (endings[status] ?? 0) + 1
        left.delete(id)
        if (event.type === "end") event = { ...event, type: "job_end" }
      } else if (event.type === "job_missing") {
        problem = event.detail ?? "There is no job with this id."
        refusal = { status: event.status ?? 404, type: "urn:milepost:problem:job-not-found" }
      } else {
        connection = "ended"
        event = { ...event, type: "end" }
      }
    }
    if (refusal) connection = "refused"
    else if (!event && connection === last.connection && problem === last.problem) return
    last = { job, event, connection, problem }
    put(last, id, refusal && new Problem(String(problem), refusal))
    if (left?.size === 0) end()
  }
}
