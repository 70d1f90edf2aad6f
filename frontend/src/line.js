/**
 * One connection, kept up through whatever happens: a stream where it can be had, asking again and again where not.
 * @module
 */

import { Backoff } from "./backoff.js"
import { isEnd } from "./fold.js"
import { Problem, problemOf } from "./http.js"
import { isSelection, streamAddress } from "./plan.js"
import { poll } from "./poll.js"
import { SseDecoder } from "./sse.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./fold.js").JobEvent} JobEvent */
/** @typedef {import("./http.js").Sender} Sender */
/** @typedef {import("./watch.js").Connection} Connection */

/**
 * What is said of some keys: an event and where that leaves the reader, or how the connection is. Nothing follows on a
 * `refusal`; no keys at all: somebody is there.
 * @typedef {{keys: string[], event?: JobEvent, at?: string, connection?: Connection, problem?: string | null,
 *   refusal?: {status: number, type: string}, spare?: boolean}} Word
 */

/** The server pings after 15 s of silence: three missed pings mean that nobody is there. */
export const SILENCE_MS = 45_000
/** Who waits says so as often. */
const SIGN_MS = 15_000
/** A stream says something at once: where nothing comes for so long, something on the way keeps it back. */
const OPENING_MS = 8000
/** So long nobody tries again to stream through that. */
const POLLING_MS = 120_000

export class Line {
  /** Where the stream is, by key. @type {Map<string, string>} */
  at = new Map()
  /** How it is, for those who come later. @type {{connection: Connection, problem: string | null}} */
  status = { connection: "connecting", problem: null }

  #client
  #send
  #say
  #backoff = new Backoff({ base: 1000 })
  #running = false
  #cut = new AbortController()
  #wakeUp = () => {}
  #heard = 0
  #retryMs = 0
  #pollUntil = 0

  /**
   * @param {Milepost} client
   * @param {Sender} send
   * @param {(word: Word) => void} say
   */
  constructor(client, send, say) {
    this.#client = client
    this.#send = send
    this.#say = say
  }

  /** Go on at once, with what `at` says by now; to the end if that is nothing. */
  change() {
    this.status = { connection: "connecting", problem: null } // so that those who are new hear of what comes
    this.#cut.abort()
    this.#wakeUp()
    if (!this.#running) this.#run()
  }

  /** The page is seen again, or the network is back: who knows what has died meanwhile. */
  wake() {
    if (Date.now() - this.#heard > SILENCE_MS) this.#cut.abort()
    this.#wakeUp()
  }

  async #run() {
    this.#running = true
    while (this.at.size) {
      this.#say({ keys: [] })
      this.#cut = new AbortController()
      const { signal } = this.#cut
      let pause
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let watchdog
      const heard = (ms = SILENCE_MS, silent = () => {}) => {
        this.#heard = Date.now()
        clearTimeout(watchdog)
        watchdog = setTimeout(() => (silent(), this.#cut.abort(), this.#status("reconnecting")), ms)
      }
      try {
        pause = await (performance.now() < this.#pollUntil ? this.#poll(signal) : this.#stream(signal, heard))
      } catch (error) {
        pause = signal.aborted ? 0 : this.#failed(error)
      }
      clearTimeout(watchdog)
      this.#cut.abort() // whoever has told all need not hang up first
      for (let woken = false; pause > 0 && !woken; pause -= SIGN_MS) {
        this.#say({ keys: [] }) // or the other tabs would take this one for asleep, and ask before it is time
        const milliseconds = Math.min(pause, SIGN_MS)
        woken = await new Promise((resolve) => {
          this.#wakeUp = () => resolve(true)
          watchdog = setTimeout(resolve, milliseconds, false)
        })
        clearTimeout(watchdog)
      }
    }
    this.#running = false
  }

  /**
   * @param {AbortSignal} signal
   * @param {(ms?: number, silent?: () => void) => void} heard
   * @returns {Promise<number>} how long to stay away, in milliseconds
   */
  async #stream(signal, heard) {
    const url = this.#client.url(...streamAddress(this.at))
    heard(OPENING_MS, () => (this.#pollUntil = performance.now() + POLLING_MS))
    const response = await this.#send(url, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal })
    if (!response.ok) throw await problemOf(response)
    if (response.status === 204) return this.#poll(signal) // which knows what to do about those that have ended
    if (!/^text\/event-stream/.test(response.headers.get("Content-Type") ?? "")) throw new Problem("This is no stream.")
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader()
    const decoder = new SseDecoder()
    while (true) {
      const { value, done } = await reader.read()
      // Aborted: what was read before that is of a place where the line is no longer.
      if (done || signal.aborted) throw new Error("The body has ended, and the jobs have not.")
      heard()
      this.#status("live")
      const frames = decoder.feed(value)
      this.#retryMs = decoder.retryMs ?? 0
      for (const { event, data, id } of frames) {
        const pause = this.#take({ type: event, ...JSON.parse(data) }, id)
        if (pause !== undefined) return pause
      }
    }
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<number>}
   */
  async #poll(signal) {
    const [first] = this.at.keys()
    const wait = this.at.size > 1 || isSelection(first) ? 0 : 20
    let news = 0
    for (const [key, at] of [...this.at]) {
      const { items, next } = await poll(this.#client, key, at, wait, signal)
      for (const event of items) {
        const pause = this.#take(event)
        if (pause !== undefined) return pause
        news++
      }
      this.#status("polling")
      if (next && this.at.has(key)) this.at.set(key, next)
    }
    return wait && news ? 0 : 1500 // where nobody waits for news there is always something
  }

  /**
   * @param {JobEvent} event
   * @param {string} [id]  of the event of a selection
   * @returns {number | undefined} how long to stay away, where the server asks for it
   */
  #take(event, id) {
    const [first] = this.at.keys()
    const selection = isSelection(first)
    const key = selection ? first : event.job_id ?? ""
    if (event.type === "ping") this.#say({ keys: [] })
    else if (event.type === "reconnect") {
      if (event.reason === "token") this.#send.forget()
      this.#status("reconnecting")
      return event.retry_ms ?? 0
    } else if (this.at.has(key)) {
      const at = selection ? id : event.cursor
      if (selection ? event.type === "end" : isEnd(event)) this.at.delete(key)
      else if (at) this.at.set(key, at)
      if (event.type === "job_missing") this.#pollUntil = 0 // the others can be had by a stream
      this.#backoff.tries = 0
      this.#say({ keys: [key], event, at })
    }
    return this.at.size ? undefined : 0
  }

  /**
   * @param {unknown} error
   * @returns {number} milliseconds until the next try
   */
  #failed(error) {
    this.#pollUntil = 0
    if (!(error instanceof Problem)) {
      this.#status("reconnecting")
      return Math.max(this.#backoff.next(), this.#retryMs)
    }
    const { message, status, type, retryAfter, temporary } = error
    if (temporary) {
      this.#status("reconnecting", message)
      return this.#backoff.next() + (retryAfter ?? 0) * 1000
    }
    const keys = [...this.at.keys()]
    if (status !== 401 && !isSelection(keys[0])) {
      // Which of the jobs it is about, they say one by one.
      this.#pollUntil = performance.now() + POLLING_MS
      return 0
    }
    this.at.clear()
    this.#say({ keys, connection: "refused", problem: message, refusal: { status, type } })
    return 0
  }

  /**
   * @param {Connection} connection
   * @param {string | null} [problem]
   */
  #status(connection, problem = null) {
    if (connection === "reconnecting" && globalThis.navigator?.onLine === false) problem = "This device is offline."
    else if (connection === this.status.connection && problem === this.status.problem) return
    this.status = { connection, problem }
    this.#say({ keys: [...this.at.keys()], ...this.status })
  }
}
