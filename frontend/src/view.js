/**
 * What a person should be told of a job: words and numbers, no elements. Pure.
 * @module
 */

import { counted, duration, ordinal, percentage, rate, secondsBetween, timeLeft } from "./format.js"
import { readJob } from "./job.js"

/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./watch.js").Update} Update */

/**
 * `tone` is one word for the colours: the job's status, or `troubled`. `value` is 0–100, null while nobody knows how
 * far it is; `valueText` is what the bar says of itself to who cannot see it, "" where it has no value.
 * @typedef {object} View
 * @property {string} tone
 * @property {string} status
 * @property {string} state  the same for ears: without what counts down or up, with what somebody should do
 * @property {number | null} value
 * @property {string} valueText
 * @property {string} percent
 * @property {string} count
 * @property {string} step
 * @property {string} message
 * @property {string} rate
 * @property {string} time  what is left of it, or what it took
 * @property {string} attempt
 * @property {string} trouble  what is wrong with the connection, not with the job
 */

/** @type {Record<string, string>} what does not say for itself what it means */
const WORDS = { queued: "Waiting for a worker", retrying: "Trying again", refused: "Not available" }

/** A connection that is back so soon was no trouble: servers and proxies renew them now and then. */
const PATIENCE_SECONDS = 1.5

/**
 * @param {Pick<Update, "job" | "connection" | "problem">} update
 * @param {{age?: number, lost?: number, now?: number}} [times]  `age`: seconds since the progress arrived; `lost`:
 *   seconds since the connection broke; `now`: ms since 1970
 * @returns {View}
 */
export function describe({ job: known, connection, problem }, { age = 0, lost = Infinity, now = Date.now() } = {}) {
  // Before the first word there is no job: then what becomes of the connection is all there is to tell.
  const job = known ?? readJob({ id: "", task: "", status: connection === "refused" ? connection : "connecting" })
  const { progress, status, done, attempt } = job
  const running = status === "running"
  const moving = running && !job.stalled
  const percent = status === "succeeded" ? 100 : progress.percent
  const value = running || status === "connecting" ? percent : (percent ?? 0)
  const count = counted(progress.current, progress.total, progress.unit)
  const took = done ? secondsBetween(job.started_at, job.finished_at) : null
  const word = wordOf(job)
  const message = messageOf(job)
  return {
    tone: toneOf(job),
    status: timed(job, word, now),
    state: isStuck(job) || status === "failed" ? `${word}: ${message}` : word,
    value,
    valueText: value === null ? "" : `${Math.floor(value)}%${count && ", "}${count}`,
    percent: percentage(percent),
    count,
    step: running ? stepOf(job) : "",
    message,
    rate: moving ? rate(progress.rate, progress.unit) : "",
    time: moving ? timeLeft((progress.eta_seconds ?? 0) - age) : took === null ? "" : `took ${duration(took)}`,
    attempt: attempt > 1 ? `attempt ${attempt} of ${job.max_attempts}` : job.retry_of ? "started again" : "",
    trouble: troubleOf(connection, problem, lost),
  }
}

/**
 * @param {Update["connection"]} connection
 * @param {string | null} problem
 * @param {number} lost
 */
function troubleOf(connection, problem, lost) {
  if (connection === "refused") return problem ?? ""
  return connection === "reconnecting" && lost >= PATIENCE_SECONDS ? `${problem ?? "The connection was lost."} Trying again.` : ""
}

/** @param {Job} job */
function toneOf(job) {
  const troubled = job.stalled || job.cancel_requested || isStuck(job) || job.status === "retrying"
  return troubled && !job.done ? "troubled" : job.status
}

/** @param {Job} job */
function wordOf({ status, done, cancel_requested: cancelling, stalled }) {
  if (!done && cancelling) return "Cancelling"
  if (!done && stalled) return "No word from the worker"
  return WORDS[status] ?? status[0].toUpperCase() + status.slice(1)
}

/**
 * @param {Job} job
 * @param {string} word
 * @param {number} now
 */
function timed(job, word, now) {
  const place = job.queue_position
  if (place !== null && !isStuck(job)) return `${job.status === "retrying" ? word : "Waiting"}: ${ordinal(place)} in line`
  const seconds = Math.ceil((Date.parse(job.run_at ?? "") - now) / 1000)
  return seconds > 0 ? `${word} in ${duration(Math.max(10, seconds)) /* no tenths: nothing counts them down */}` : word
}

/**
 * Whether the job waits and nobody is there to take it.
 * @param {Job} job
 */
function isStuck({ waiting }) {
  return waiting?.reason.startsWith("no_worker")
}

/** @param {Job} job */
function messageOf({ waiting, error, status, progress }) {
  return waiting?.message ?? ((status !== "cancelled" && error?.message) || progress.message) ?? ""
}

/** @param {Job} job */
function stepOf({ progress: { step } }) {
  return step ? (step.count ? `${step.index}/${step.count} ${step.name}` : step.name) : ""
}
