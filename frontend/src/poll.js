/**
 * The same events as the stream, asked for: one round of it.
 * @module
 */

import { WAITING } from "./job.js"

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./stream.js").Signal} Signal */

/**
 * Yield what has happened to a job after `cursor`; a snapshot first without one.
 * @param {Client} client
 * @param {string} id
 * @param {string} cursor
 * @param {Job | null} job  as it was when last asked
 * @returns {AsyncGenerator<Signal, void, void>}
 */
export async function* poll(client, id, cursor, job) {
  if (!cursor) {
    // The place first, then the state: what happens in between comes again, and changes nothing.
    const { cursor: place } = await client.status(id)
    const job = await client.get(id)
    const event = { type: "snapshot", job_id: id, seq: job.version, job, ...(place && { cursor: place }) }
    yield { kind: "event", event }
    return
  }
  if (job !== null && WAITING.has(job.status)) {
    // Its place in the queue is no history; while it waits, this says all there is to say.
    const status = await client.status(id)
    yield { kind: "open" }
    if (status.cursor === cursor) {
      if (standsElsewhere(job, status)) yield { kind: "event", event: waitingEvent(id, status) }
      return
    }
  }
  let page
  do {
    page = await client.events(id, { after: cursor })
    yield { kind: "open" }
    for (const event of page.items) yield { kind: "event", event }
    cursor = page.next ?? cursor
  } while (page.more)
}

/**
 * @param {Job} job
 * @param {Record<string, any>} status
 */
function standsElsewhere(job, status) {
  return job.queue_position !== (status.queue_position ?? null) || job.waiting?.message !== status.waiting?.message
}

/**
 * @param {string} id
 * @param {Record<string, any>} status
 */
function waitingEvent(id, { queue_position, waiting }) {
  return { type: "waiting", job_id: id, queue_position, waiting }
}
