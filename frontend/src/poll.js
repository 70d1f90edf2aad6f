/**
 * What a stream would say, asked for: one round of it.
 * @module
 */

import { Problem } from "./http.js"
import { isSelection, JOBS_MOST, told } from "./plan.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./fold.js").JobEvent} JobEvent */
/** @typedef {import("./job.js").Job} Job */

/**
 * @param {Milepost} client
 * @param {string} key  of what is followed
 * @param {string} after  where the reader is
 * @param {number} wait  seconds, for news of a job
 * @param {AbortSignal} signal
 * @returns {Promise<{items: JobEvent[], next?: string | null}>} what has happened since, and where that leaves the reader
 * @throws {Problem}
 */
export async function poll(client, key, after, wait, signal) {
  if (isSelection(key)) return selected(client, key, signal)
  try {
    return (await client.events(key, { after, wait, signal })) ?? { items: told(await client.get(key)) }
  } catch (error) {
    if (!(error instanceof Problem) || error.temporary || error.status === 401) throw error
    const { message: detail, status } = error
    return { items: [{ type: "job_missing", job_id: key, reason: "unknown", detail, status }] }
  }
}

/**
 * How the jobs of a selection stand; what is known of them already counts for nothing.
 * @param {Milepost} client
 * @param {string} key
 * @param {AbortSignal} signal
 * @returns {Promise<{items: JobEvent[]}>}
 */
async function selected(client, key, signal) {
  const query = { ...Object.fromEntries(new URLSearchParams(key)), limit: JOBS_MOST }
  /** @type {Job[]} */
  const jobs = []
  /** @type {string | null | undefined} */
  let cursor
  do {
    const page = await client.list({ ...query, cursor }, { signal })
    jobs.push(...page.items)
    cursor = page.next_cursor
  } while (cursor && jobs.length < JOBS_MOST)
  const events = jobs.flatMap(told)
  const over = key !== "?" && !cursor && jobs.every(({ done }) => done)
  return { items: over ? [...events, { type: "end" }] : events }
}
