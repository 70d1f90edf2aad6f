/** Which jobs a list shows: to and from an address, and whether a job is one of them. Pure. */

/** @typedef {import("../src/job.js").Job} Job */
/** @typedef {{status: string[], task: string, queue: string, tag: string, batch: string, q: string}} Filter */

export const STATUSES = /** @type {const} */ (["scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled", "expired"])
export const NAMES = /** @type {const} */ (["task", "queue", "tag", "batch", "q"])
/** What a shorter text would find is too much: the server refuses it. */
export const SHORTEST = 3

/**
 * @param {URLSearchParams} query
 * @returns {Filter}
 */
export function filterOf(query) {
  const one = (/** @type {string} */ name) => query.get(name)?.trim() ?? ""
  const status = query.getAll("status").filter((name) => STATUSES.some((known) => known === name))
  return { status, task: one("task"), queue: one("queue"), tag: one("tag"), batch: one("batch"), q: one("q") }
}

/**
 * @param {Partial<Filter>} filter
 * @returns {URLSearchParams} without what is not asked for
 */
export function queryOf(filter) {
  const query = new URLSearchParams()
  for (const status of filter.status ?? []) query.append("status", status)
  for (const name of NAMES) if (filter[name]) query.set(name, filter[name])
  return query
}

/**
 * What the API is asked for.
 * @param {Filter} filter
 * @returns {Record<string, string | string[]>}
 */
export function wire(filter) {
  const { status, q } = filter
  const named = NAMES.filter((name) => filter[name] && name !== "q").map((name) => [name, filter[name]])
  return { ...Object.fromEntries(named), ...(status.length ? { status } : {}), ...(q.length >= SHORTEST ? { q } : {}) }
}

/** Of jobs that are accepted at about the same time, as a batch is, the first of a list is not always the last one. */
const ABOUT_MS = 1000

/**
 * What the API is asked for where something is done to all that a list shows: what comes later has been seen by nobody.
 * @param {Filter} filter
 * @param {Job | undefined} newest  of the list; undefined while it shows none
 * @returns {Record<string, string | string[] | boolean> | null} null where the list shows more than the filter says
 */
export function wireOfAll(filter, newest) {
  if (filter.q && filter.q.length < SHORTEST) return null
  const asked = wire(filter)
  if (newest?.created_at) return { ...asked, created_before: new Date(Date.parse(newest.created_at) + ABOUT_MS).toISOString() }
  return isEmpty(filter) ? { all: true } : asked
}

/** @param {Filter} filter */
export function isEmpty(filter) {
  return filter.status.length === 0 && NAMES.every((name) => !filter[name])
}

/**
 * Whether a job is among those. Text is looked for as the server does it; it knows more of those that have ended.
 * @param {Filter} filter
 * @param {Job} job
 */
export function matches(filter, job) {
  const { status, task, queue, tag, batch, q } = filter
  if (status.length && !status.includes(job.status)) return false
  if ((task && job.task !== task) || (queue && job.queue !== queue) || (batch && job.batch_id !== batch)) return false
  if (tag && !job.tags.includes(tag)) return false
  return q.length < SHORTEST || textOf(job).includes(q.toLowerCase())
}

/** @param {Job} job */
function textOf(job) {
  const { id, task, queue, batch_id: batch, tags, metadata, error, progress } = job
  const said = job.done ? [progress.message, error?.type, error?.message] : []
  return [id, task, queue, batch, ...tags, JSON.stringify(metadata), ...said].join("\n").toLowerCase()
}

/**
 * Newest first. Ids may be of the clients' choice, so they say nothing of the time; within a millisecond they decide.
 * @param {Job} one
 * @param {Job} other
 */
export function newestFirst(one, other) {
  const [at, before] = [one.created_at ?? "", other.created_at ?? ""]
  if (at === before) return one.id > other.id ? -1 : 1
  return at > before ? -1 : 1
}
