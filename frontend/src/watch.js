/**
 * Following one job to its end: by a stream where a connection may be held, by asking where not; through restarts of
 * the server, refusals of the browser and sleep of the machine. What the connection does and what the job does are
 * told apart.
 * @module
 */

import { Backoff } from "./backoff.js"
import { fold } from "./fold.js"
import { Problem } from "./http.js"
import { poll } from "./poll.js"
import { StreamEnded, stream } from "./stream.js"
import { wait } from "./wait.js"

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./fold.js").JobEvent} JobEvent */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./slots.js").Slots} Slots */
/** @typedef {import("./stream.js").Signal} Signal */

/**
 * `connecting` at first; `live` while a stream is up; `polling` while asked again and again, for want of a free
 * connection; `reconnecting` when it broke; `ended` when the job has ended and nothing is open any more; `refused` when
 * there is no such job (`watch` throws then, an element shows it so).
 * @typedef {"connecting" | "live" | "polling" | "reconnecting" | "ended" | "refused"} Connection
 */

/**
 * What is known now. `event` is what just happened to the job, null when only the connection changed; `problem`
 * a sentence on what is wrong with the connection.
 * @typedef {{job: Job | null, event: JobEvent | null, connection: Connection, problem: string | null}} Update
 */

const POLL_MS = 1000
/** Trying again at once when the network is back beats waiting on. */
const WAKING = ["online", "pageshow"]

/**
 * @param {Client} client
 * @param {Slots} slots
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Update, void, void>}
 * @throws {Problem}
 */
export async function* watch(client, slots, id, signal) {
  const view = new View()
  const backoff = new Backoff({ base: 1000 })
  while (!signal.aborted) {
    const release = await slots.take()
    let pause = POLL_MS
    try {
      const source = release ? stream(client.streamUrl(id, view.cursor), { signal }) : poll(client, id, view.cursor, view.job)
      for await (const item of source) {
        if (signal.aborted) return
        if (item.kind === "event") backoff.reset()
        yield view.take(item, release ? "live" : "polling")
        if (view.done) return
      }
    } catch (error) {
      if (signal.aborted) return
      pause = pauseAfter(error, backoff)
      yield await truth(client, id, view, error)
      if (view.done) return
    } finally {
      release?.()
    }
    await wait(pause, signal, WAKING)
  }
}

/**
 * @param {unknown} error
 * @param {Backoff} backoff
 * @returns {number} milliseconds until the next try
 * @throws what was not the connection's fault
 */
function pauseAfter(error, backoff) {
  if (error instanceof StreamEnded) return error.retryMs ?? backoff.next()
  if (error instanceof Problem) return Math.max(backoff.next(), (error.retryAfter ?? 0) * 1000)
  throw error
}

/**
 * EventSource does not say why it was refused: a plain GET does. It throws when there is nothing to come back for.
 * @param {Client} client
 * @param {string} id
 * @param {View} view
 * @param {unknown} error
 * @returns {Promise<Update>}
 */
async function truth(client, id, view, error) {
  try {
    if (error instanceof StreamEnded && error.retryMs !== null) return view.lost(null)
    return view.found(await client.get(id))
  } catch (problem) {
    if (!(problem instanceof Problem && problem.temporary)) throw problem
    return view.lost(problem.message)
  }
}

/** The job as far as it is known, and where to go on. */
class View {
  /** @type {Job | null} */
  job = null
  cursor = ""

  get done() {
    return this.job?.done ?? false
  }

  /**
   * @param {Signal} item
   * @param {Connection} connection  what it is while all is well
   * @returns {Update}
   */
  take(item, connection) {
    if (item.kind === "trouble") return this.lost(null)
    if (item.kind === "open") return this.#update(null, connection)
    this.cursor = item.event.cursor ?? this.cursor
    this.job = fold(this.job, item.event)
    return this.#update(item.event, connection)
  }

  /**
   * @param {Job} job  as a GET found it, which is never behind what was seen
   * @returns {Update}
   */
  found(job) {
    this.job = job
    return this.#update(null, "reconnecting")
  }

  /**
   * @param {string | null} problem
   * @returns {Update}
   */
  lost(problem) {
    return this.#update(null, "reconnecting", problem)
  }

  /**
   * @param {JobEvent | null} event
   * @param {Connection} connection
   * @param {string | null} [problem]
   * @returns {Update}
   */
  #update(event, connection, problem = null) {
    return { job: this.job, event, connection: this.done ? "ended" : connection, problem }
  }
}
