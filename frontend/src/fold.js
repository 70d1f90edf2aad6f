/**
 * State is what is left after folding events: one pure function, the same in Python and JavaScript.
 * @module
 */

import { known, readError, readJob, readProgress, readWaiting, WAITING } from "./job.js"

/** @typedef {import("./job.js").Job} Job */

/**
 * An event as SSE, NDJSON and long-poll carry it. `ping`, `gap` and `reconnect` are about the connection, `waiting`
 * is of the moment, and they have no `seq`; all others have one, dense per job.
 * @typedef {{type: string, job_id?: string, seq?: number, cursor?: string, at?: string} & Record<string, any>} JobEvent
 */

/**
 * Return `job` after `event`; the same object when the event changes nothing.
 *
 * A snapshot replaces everything. An event at or before the job's `version` is a duplicate and changes
 * nothing; neither does anything after the end: a late report must not reopen a closed job. `waiting` has no place
 * in the history: it counts while the job waits, until the next `status` or `end`.
 * @param {Job | null} job  null before the first snapshot
 * @param {JobEvent} event
 * @returns {Job | null}
 */
export function fold(job, event) {
  if (event.type === "snapshot") return readJob(event.job)
  if (event.type === "waiting" && job !== null) return waits(job, event)
  if (job === null || job.done || !Object.hasOwn(APPLY, event.type)) return job
  if (event.seq === undefined || event.seq <= job.version) return job
  return { ...job, ...APPLY[event.type](job, event), version: event.seq }
}

/** Whether nothing follows: of the job, or of the stream. @param {JobEvent} event */
export const isEnd = ({ type }) => type === "end" || type === "job_end" || type === "job_missing"

/**
 * @param {Job} job
 * @param {JobEvent} event
 * @returns {Job}
 */
function waits(job, event) {
  if (!WAITING.has(job.status)) return job
  return { ...job, queue_position: event.queue_position ?? null, waiting: readWaiting(event.waiting) }
}

/** What each kind of event changes. Those which change no state still move the version. */
const APPLY = /** @type {Record<string, (job: Job, event: JobEvent) => Partial<Job>>} */ ({
  status: (job, event) => ({
    ...AT_REST,
    ...known({ status: "", attempt: 0, cancel_requested: false }, event),
    run_at: event.run_at ?? null,
    error: readError(event.error),
    ...(event.status === "running" && event.attempt > job.attempt && attempted(job, event)),
  }),
  progress: (job, event) => (event.attempt >= job.attempt ? { progress: readProgress(event.progress) } : {}),
  stalled: (_job, event) => ({ stalled: !event.recovered }),
  end: ended,
  job_end: ended,
  log: () => ({}),
  output: () => ({}),
})

/** Neither waiting nor silent. @type {Partial<Job>} */
const AT_REST = { queue_position: null, waiting: null, run_at: null, stalled: false }

/**
 * A new attempt begins at nothing: percent is monotonic within an attempt, not across them.
 * @param {Job} job
 * @param {JobEvent} event
 * @returns {Partial<Job>}
 */
function attempted({ started_at }, { at }) {
  return { progress: readProgress(null), started_at: started_at ?? at ?? null, run_at: null, error: null }
}

/**
 * @param {Job} _job
 * @param {JobEvent} event
 * @returns {Partial<Job>}
 */
function ended(_job, event) {
  return {
    ...AT_REST,
    ...known({ status: "", attempt: 0, result: null, result_omitted: false }, event),
    done: true,
    progress: readProgress(event.progress),
    error: readError(event.error),
    finished_at: event.finished_at ?? event.at ?? null,
  }
}
