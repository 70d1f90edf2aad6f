/**
 * The rules of following, apart from any connection: who is where, what is new, which address to ask.
 *
 * What is followed has a key: the id of a job, or `?` and the query of a selection (`?tag=x`, `?` alone for all jobs).
 * Where a reader is has the form `<name>-<number>`: the cursor of a job's event, or the id of an event of a selection.
 * Numbers of the same name compare, others do not.
 * @module
 */

import { path } from "./client.js"
import { fold, isEnd } from "./fold.js"

/** @typedef {import("./fold.js").JobEvent} JobEvent */
/** @typedef {import("./job.js").Job} Job */

/**
 * What is known of a job: `seq` of the last event that counted, the epoch of its cursor, whether its end was told.
 * @typedef {{job: Job | null, seq: number, epoch: string, over: boolean}} Known
 */

/** A stream takes no more jobs than that. */
export const JOBS_MOST = 500

/** @param {string} key */
export const isSelection = (key) => key[0] === "?"

/** @param {string} at */
const split = (at) => {
  const dash = at.lastIndexOf("-")
  return /** @type {const} */ ([at.slice(0, dash), parseInt(at.slice(dash + 1))])
}

/**
 * Whether who is at `at` is known to lack something that who is at `other` has.
 * @param {string} at
 * @param {string} other
 */
export function isBehind(at, other) {
  return compares(at, other) && split(at)[1] < split(other)[1]
}

/**
 * @param {string} at
 * @param {string} other
 */
export const compares = (at, other) => split(at)[0] === split(other)[0]

/**
 * What is known after an event; null when the event is known already. Where several readers share a connection it
 * begins where the last of them was, so each hears some things again.
 * @param {Known | undefined} known
 * @param {JobEvent} event
 * @returns {Known | null}
 */
export function advance(known, event) {
  const { type, seq = 0, cursor = "" } = event
  const [epoch] = split(cursor)
  const { job = null, seq: before = 0, epoch: branch = epoch, over = false } = known ?? {}
  const ends = isEnd(event)
  const branched = type === "snapshot" && epoch && epoch !== branch
  const again = ends ? over && type !== "job_missing" : known && seq && seq <= before && !branched
  if (again) return null
  return {
    job: fold(job, event.job ? { ...event, type: "snapshot" } : event),
    seq: seq && (branched ? seq : Math.max(seq, before)) || before,
    epoch: epoch || branch,
    over: ends || (over && !branched),
  }
}

/**
 * What a stream would say of a job that somebody has asked for.
 * @param {Job} job
 * @returns {JobEvent[]}
 */
export function told(job) {
  const { id, done, version } = job
  const snapshot = { type: "snapshot", job_id: id, seq: version - Number(done), job }
  return done ? [snapshot, { ...job, type: "job_end", job_id: id, seq: version, job }] : [snapshot]
}

/**
 * The address of the stream for those who are so far: each goes on after where it is.
 * @param {Map<string, string>} places  by key: one selection, or jobs
 * @returns {[string, Record<string, string | string[]>]} place and query
 */
export function streamAddress(places) {
  const all = [...places].map(([key, at]) => [key, at.split("~")[0]]) // what long-polls add behind ~ is theirs
  const [[key, at]] = all
  const after = at && { last_event_id: at }
  if (isSelection(key)) return ["v1/status/stream", { ...Object.fromEntries(new URLSearchParams(key)), ...after }]
  if (all.length === 1) return [path(key, "/status/stream"), { ...after }]
  return ["v1/status/stream", { job: all.map(([id, cursor]) => id + (cursor && `@${cursor}`)) }]
}
