/**
 * What a job is, as the API shows it: shapes and what follows from them. Pure, no I/O, no clock.
 * Times are RFC 3339 UTC text. Statuses, codes and fields that are not known here come from a newer server:
 * they are kept or ignored, never refused.
 * @module
 */

/**
 * @typedef {"scheduled" | "queued" | "running" | "retrying" | "succeeded" | "failed" | "cancelled" | "expired"} Status
 */

/**
 * What went wrong, for whom it concerns.
 * @typedef {object} JobError
 * @property {string} code  exception, timeout, worker_lost, cancelled, start_timeout, serialization, unknown_task, lost
 * @property {string} message
 * @property {string | null} type  the name of the exception
 * @property {number} attempt
 * @property {boolean} retryable
 */

/**
 * The step under way: the `index`-th (from 1) of `count`, where the count is known.
 * @typedef {{key: string, name: string, index: number, count: number | null}} StepRef
 */

/**
 * @typedef {{key: string, name: string, status: string, percent: number | null, weight: number}} Step
 */

/**
 * How far an attempt is: always whole, never a delta. `percent` is 0–100, or null when nobody can know.
 * @typedef {object} Progress
 * @property {number | null} current
 * @property {number | null} total
 * @property {string | null} unit
 * @property {number | null} percent
 * @property {string | null} message
 * @property {StepRef | null} step
 * @property {Step[]} steps
 * @property {number | null} rate  units per second
 * @property {number | null} eta_seconds
 * @property {string | null} updated_at
 */

/**
 * What keeps a job that is due from being begun, and a sentence that says what to do about it.
 * @typedef {object} Waiting
 * @property {string} reason  no_worker_for_queue, no_worker_for_task, workers_busy
 * @property {string} message
 */

/**
 * The public shape of a job; `version` is the `seq` of the last event folded in.
 * @typedef {object} Job
 * @property {string} id
 * @property {string} task
 * @property {Status | string} status
 * @property {boolean} done
 * @property {number} version
 * @property {number} attempt
 * @property {number} max_attempts
 * @property {string} queue
 * @property {number} priority
 * @property {string[]} tags
 * @property {Record<string, unknown>} metadata
 * @property {Progress} progress
 * @property {number | null} queue_position  1 is taken next; null unless it waits in its queue
 * @property {Waiting | null} waiting  null while nothing keeps it from being begun
 * @property {string | null} heartbeat_at
 * @property {boolean} stalled
 * @property {boolean} cancel_requested
 * @property {unknown} result
 * @property {boolean} result_omitted  the result is too large to be here; GET /v1/jobs/{id}/result has it
 * @property {JobError | null} error
 * @property {string | null} created_at
 * @property {string | null} run_at
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {string | null} expires_at
 * @property {string | null} batch_id
 * @property {string | null} parent_id
 * @property {string | null} retry_of  the job that this one does again
 */

/** @type {Readonly<Progress>} */
export const NO_PROGRESS = {
  current: null,
  total: null,
  unit: null,
  percent: null,
  message: null,
  step: null,
  steps: [],
  rate: null,
  eta_seconds: null,
  updated_at: null,
}

/** @type {Readonly<Omit<Job, "id" | "task">>} */
const DEFAULTS = {
  status: "queued",
  done: false,
  version: 0,
  attempt: 0,
  max_attempts: 1,
  queue: "default",
  priority: 0,
  tags: [],
  metadata: {},
  progress: NO_PROGRESS,
  queue_position: null,
  waiting: null,
  heartbeat_at: null,
  stalled: false,
  cancel_requested: false,
  result: null,
  result_omitted: false,
  error: null,
  created_at: null,
  run_at: null,
  started_at: null,
  finished_at: null,
  expires_at: null,
  batch_id: null,
  parent_id: null,
  retry_of: null,
}

/** Nobody runs the job, and somebody shall. */
export const WAITING = new Set(["scheduled", "queued", "retrying"])

/** Statuses after which nothing follows. A status that is not known here says so by `done` alone. */
export const TERMINAL = new Set(["succeeded", "failed", "cancelled", "expired"])

/**
 * Read a job as an older or newer server sends it: what is missing is filled in, what is unknown is dropped.
 * @param {Partial<Job> & {id: string, task: string}} wire
 * @returns {Job}
 */
export function readJob(wire) {
  const { id, task } = wire
  const job = known({ id, task, ...DEFAULTS }, wire)
  return {
    ...job,
    progress: readProgress(job.progress),
    waiting: readWaiting(job.waiting),
    error: readError(job.error),
    tags: [...(job.tags ?? [])],
    metadata: { ...job.metadata },
  }
}

const STEP = { key: "", name: "" }

/**
 * @param {Partial<Progress> | null | undefined} wire
 * @returns {Progress}
 */
export function readProgress(wire) {
  const progress = known(NO_PROGRESS, wire ?? {})
  const { step, steps } = progress
  return {
    ...progress,
    step: step && known({ ...STEP, index: 0, count: null }, step),
    steps: (steps ?? []).map((one) => known({ ...STEP, status: "", percent: null, weight: 1 }, one)),
  }
}

/**
 * @param {Partial<JobError> | null | undefined} wire
 * @returns {JobError | null}
 */
export const readError = (wire) =>
  wire ? known({ code: "", message: "", type: null, attempt: 0, retryable: false }, wire) : null

/**
 * @param {Partial<Waiting> | null | undefined} wire
 * @returns {Waiting | null}
 */
export const readWaiting = (wire) => (wire ? known({ reason: "", message: "" }, wire) : null)

/**
 * Return `defaults` with the fields of `wire` that have the same names.
 * @template {object} T
 * @param {T} defaults
 * @param {object} wire
 * @returns {T}
 */
export function known(defaults, wire) {
  /** @type {any} */
  const found = { ...defaults }
  for (const name in defaults) if (Object.hasOwn(wire, name)) found[name] = /** @type {any} */ (wire)[name]
  return found
}
