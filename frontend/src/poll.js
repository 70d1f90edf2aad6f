/**
 * The same events as the stream, asked for: one round of it.
 * @module
 */

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./stream.js").Signal} Signal */

/**
 * Yield what has happened to a job after `cursor`; a snapshot first without one.
 * @param {Client} client
 * @param {string} id
 * @param {string} cursor
 * @returns {AsyncGenerator<Signal, void, void>}
 */
export async function* poll(client, id, cursor) {
  if (!cursor) {
    // The place first, then the state: what happens in between comes again, and changes nothing.
    const { cursor: place } = await client.status(id)
    const job = await client.get(id)
    const event = { type: "snapshot", job_id: id, seq: job.version, job, ...(place && { cursor: place }) }
    yield { kind: "event", event }
    return
  }
  let page
  do {
    page = await client.events(id, { after: cursor })
    yield { kind: "open" }
    for (const event of page.items) yield { kind: "event", event }
    cursor = page.next ?? cursor
  } while (page.more)
}
