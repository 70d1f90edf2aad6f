/**
 * What a stream would say, asked for: one round of it.
 * @module
 */

import { Problem } from "./http.js"
import { isSelection, told } from "./plan.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./fold.js").JobEvent} JobEvent */

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
  if (isSelection(key)) {
    const { items, next_cursor } = await client.list(Object.fromEntries(new URLSearchParams(key)), { signal })
    /** @type {JobEvent[]} */
    const events = items.flatMap(told)
    const over = key !== "?" && !next_cursor && items.every(({ done }) => done)
    return { items: over ? [...events, { type: "end" }] : events }
  }
  try {
    return (await client.events(key, { after, wait, signal })) ?? { items: told(await client.get(key)) }
  } catch (error) {
    if (!(error instanceof Problem) || error.temporary || error.status === 401) throw error
    const { message: detail, status } = error
    return { items: [{ type: "job_missing", job_id: key, reason: "unknown", detail, status }] }
  }
}
