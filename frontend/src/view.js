/**
 * What a person should be told of a job: words and numbers, no elements. Pure.
 * @module
 */

import { counted, duration, ordinal, percentage, rate, secondsBetween, timeLeft } from "./format.js"

/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./watch.js").Update} Update */

/**
 * `tone` is one word for the colours; `value` is 0–100, null while nobody knows how far it is.
 * @typedef {object} View
 * @property {"waiting" | "running" | "troubled" | "succeeded" | "failed" | "cancelled"} tone
 * @property {string} status
 * @property {string} state  the same for ears: without what counts down or up, with what somebody should do
 * @property {number | null} value
 * @property {string} percent
 * @property {string} count
 * @property {string} step
 * @property {string} message
 * @property {string} rate
 * @property {string} timeLeft
 * @property {string} attempt
 * @property {string} trouble  what is wrong with the connection, not with the job
 */

/** @type {Record<string, string>} */
const WORDS = {
  scheduled: "Scheduled",
  queued: "Waiting for a worker",
  running: "Running",
  retrying: "Trying again",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Expired",
}

/** @type {Record<string, View["tone"]>} */
const TONES = {
  scheduled: "waiting",
  queued: "waiting",
  running: "running",
  retrying: "troubled",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
  expired: "cancelled",
}

/** A connection that is back so soon was no trouble: servers and proxies renew them now and then. */
const PATIENCE_SECONDS = 1.5

/**
 * @param {Pick<Update, "job" | "connection" | "problem">} update
 * @param {{age?: number, lost?: number, now?: number}} [times]  `age`: seconds since the progress arrived; `lost`:
 *   seconds since the connection broke; `now`: ms since 1970
 * @returns {View}
 */
export function describe({ job, connection, problem }, { age = 0, lost = Infinity, now = Date.now() } = {}) {
  if (connection === "refused") return { ...UNKNOWN, tone: "failed", status: "Not available", state: "Not available", value: 0, message: problem ?? "" }
  const trouble = lost < PATIENCE_SECONDS ? "" : troubleOf(connection, problem)
  if (job === null) return { ...UNKNOWN, trouble }
  const { progress } = job
  const moving = job.status === "running"
  const left = progress.eta_seconds === null ? null : Math.max(0, progress.eta_seconds - age)
  return {
    tone: toneOf(job),
    status: statusOf(job, now),
    state: stateOf(job),
    value: moving ? progress.percent : job.status === "succeeded" ? 100 : (progress.percent ?? 0),
    percent: percentage(job.status === "succeeded" ? 100 : progress.percent),
    count: counted(progress.current, progress.total, progress.unit),
    step: moving ? stepOf(job) : "",
    message: messageOf(job),
    rate: moving && !job.stalled ? rate(progress.rate, progress.unit) : "",
    timeLeft: moving && !job.stalled && left !== 0 ? timeLeft(left) : tookOf(job),
    attempt: job.attempt > 1 ? `attempt ${job.attempt} of ${job.max_attempts}` : "",
    trouble,
  }
}

/** @type {View} */
const UNKNOWN = {
  tone: "waiting",
  status: "Connecting",
  state: "Connecting",
  value: null,
  percent: "",
  count: "",
  step: "",
  message: "",
  rate: "",
  timeLeft: "",
  attempt: "",
  trouble: "",
}

/**
 * @param {Job} job
 * @returns {View["tone"]}
 */
function toneOf(job) {
  if (!job.done && (job.stalled || job.cancel_requested || isStuck(job))) return "troubled"
  return TONES[job.status] ?? (job.done ? "cancelled" : "running")
}

/**
 * @param {Job} job
 * @param {number} now
 */
function statusOf(job, now) {
  const word = wordOf(job)
  if (job.queue_position !== null && !isStuck(job)) return `${word === WORDS.retrying ? word : "Waiting"}: ${ordinal(job.queue_position)} in line`
  if (job.run_at === null) return word
  const seconds = Math.ceil((Date.parse(job.run_at) - now) / 1000)
  return seconds > 0 ? `${word} in ${duration(Math.max(10, seconds)) /* no tenths: nothing counts them down */}` : word
}

/** @param {Job} job */
function wordOf(job) {
  if (!job.done && job.cancel_requested) return "Cancelling"
  if (!job.done && job.stalled) return "No word from the worker"
  return WORDS[job.status] ?? job.status
}

/** @param {Job} job */
function stateOf(job) {
  return isStuck(job) || job.status === "failed" ? `${wordOf(job)}: ${messageOf(job)}` : wordOf(job)
}

/**
 * Whether the job waits and nobody is there to take it.
 * @param {Job} job
 */
function isStuck({ waiting }) {
  return waiting?.reason === "no_worker_for_queue" || waiting?.reason === "no_worker_for_task"
}

/** @param {Job} job */
function messageOf(job) {
  if (job.waiting) return job.waiting.message
  if (job.error && job.status !== "cancelled") return job.error.message
  return job.progress.message ?? ""
}

/** @param {Job} job */
function stepOf(job) {
  const { step } = job.progress
  if (step === null) return ""
  return step.count === null ? step.name : `${step.index}/${step.count} ${step.name}`
}

/** @param {Job} job */
function tookOf(job) {
  const seconds = job.done ? secondsBetween(job.started_at, job.finished_at) : null
  return seconds === null ? "" : `took ${duration(seconds)}`
}

/**
 * @param {Update["connection"]} connection
 * @param {string | null} problem
 */
function troubleOf(connection, problem) {
  if (connection !== "reconnecting") return ""
  return `${problem ?? "The connection was lost."} Trying again.`
}
