/**
 * One job's events by the browser's own EventSource, as an async iterator.
 * @module
 */

import { Mailbox } from "./mailbox.js"

/** @typedef {import("./fold.js").JobEvent} JobEvent */

/**
 * `event`: something happened to the job. `open`: the connection is up. `trouble`: it is not, and the browser is
 * about to try again by itself.
 * @typedef {{kind: "event", event: JobEvent} | {kind: "open"} | {kind: "trouble"}} Signal
 */

export const EVENT_TYPES = Object.freeze([
  "snapshot",
  "status",
  "progress",
  "log",
  "output",
  "stalled",
  "end",
  "waiting",
  "gap",
  "reconnect",
  "ping",
])

/** The server pings after 15 s of silence: three missed pings mean that nobody is there. */
const SILENCE_MS = 50_000

/** The stream is over and the job is not. `retryMs` is how long the server asked to wait, null if it did not. */
export class StreamEnded extends Error {
  /**
   * @param {string} message
   * @param {number | null} [retryMs]
   */
  constructor(message, retryMs = null) {
    super(message)
    this.name = "StreamEnded"
    this.retryMs = retryMs
  }
}

/**
 * Yield what the stream of a job says until its `end`; the EventSource is closed then, and whenever the caller stops.
 * @param {URL} url
 * @param {{signal: AbortSignal, source?: typeof EventSource, silenceMs?: number}} options
 * @returns {AsyncGenerator<Signal, void, void>}
 * @throws {StreamEnded} when only a new EventSource can go on: the browser gave up (any answer but 200), the server
 *   said `reconnect`, it has been silent for too long, or the reader could not keep up
 */
export async function* stream(url, { signal, source = EventSource, silenceMs = SILENCE_MS }) {
  const mailbox = new Mailbox()
  const over = new AbortController()
  const connection = new source(url)
  const watchdog = new Watchdog(silenceMs, () => mailbox.fail(new StreamEnded("The connection fell silent.")))
  listen(connection, mailbox, watchdog)
  signal.addEventListener("abort", () => mailbox.close(), { signal: over.signal })
  // A page that comes back from the back/forward cache may show a connection that died meanwhile.
  globalThis.addEventListener?.("pageshow", (event) => restored(event, mailbox), { signal: over.signal })
  try {
    for await (const item of mailbox) {
      yield item
      if (item.kind === "event" && item.event.type === "end") return
    }
  } finally {
    over.abort()
    watchdog.stop()
    connection.close()
  }
}

/**
 * @param {PageTransitionEvent} event
 * @param {Mailbox} mailbox
 */
function restored(event, mailbox) {
  if (event.persisted) mailbox.fail(new StreamEnded("The page was put away and is back.", 0))
}

/**
 * @param {EventSource} connection
 * @param {Mailbox} mailbox
 * @param {Watchdog} watchdog
 */
function listen(connection, mailbox, watchdog) {
  connection.addEventListener("open", () => {
    watchdog.heard()
    mailbox.put({ kind: "open" })
  })
  connection.addEventListener("error", () => {
    if (connection.readyState === connection.CLOSED) {
      mailbox.fail(new StreamEnded("The server did not take the connection."))
    } else {
      mailbox.put({ kind: "trouble" }) // the watchdog goes on counting: a connect that hangs is silence too
    }
  })
  for (const type of EVENT_TYPES) {
    connection.addEventListener(type, (message) => {
      watchdog.heard()
      receive({ type, ...parsed(message.data) }, connection, mailbox)
    })
  }
}

/**
 * @param {JobEvent} event
 * @param {EventSource} connection
 * @param {Mailbox} mailbox
 */
function receive(event, connection, mailbox) {
  if (event.type === "ping") return
  const leave = event.type === "reconnect"
  const taken = !leave && mailbox.put({ kind: "event", event })
  if (leave) mailbox.fail(new StreamEnded("The server asked to come back later.", event.retry_ms ?? null))
  else if (!taken) mailbox.fail(new StreamEnded("The reader is too slow; it goes on from what it has taken.", 0))
  // Closed before the server closes it: then the browser does not come back by itself.
  if (!taken || event.type === "end") connection.close()
}

/**
 * @param {string} data
 * @returns {object} {} when something on the way put in what is no JSON object
 */
function parsed(data) {
  try {
    return Object(JSON.parse(data))
  } catch {
    return {}
  }
}

/** Calls `bark` when nothing was heard for a while. */
class Watchdog {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer

  /**
   * @param {number} milliseconds
   * @param {() => void} bark
   */
  constructor(milliseconds, bark) {
    this.milliseconds = milliseconds
    this.bark = bark
    this.heard()
  }

  heard() {
    this.stop()
    this.#timer = setTimeout(this.bark, this.milliseconds)
  }

  stop() {
    clearTimeout(this.#timer)
  }
}
