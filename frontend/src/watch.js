/**
 * Following jobs to their end: as an async iterator, or by events. What the connection does and what the job does are
 * told apart.
 * @module
 */

import { isEnd } from "./fold.js"

/** @typedef {import("./fold.js").JobEvent} JobEvent */
/** @typedef {import("./job.js").Job} Job */

/**
 * `connecting` at first; `live` while a stream is up; `polling` while asked again and again, where streams do not come
 * through; `reconnecting` when it broke; `ended` when all is told and nothing is open any more; `refused` when it
 * cannot be had (an iterator throws then).
 * @typedef {"connecting" | "live" | "polling" | "reconnecting" | "ended" | "refused"} Connection
 */

/**
 * What is known now. `event` is what just happened to the job, null when only the connection changed; `problem`
 * a sentence on what is wrong with the connection.
 * @typedef {{job: Job | null, event: JobEvent | null, connection: Connection, problem: string | null}} Update
 */

/**
 * The same for one of many: `id` is of the job, null where it is about none.
 * @typedef {Update & {id: string | null}} ManyUpdate
 */

/** @typedef {import("./http.js").Problem} Problem */
/** @typedef {import("./late.js").Follow} Follow */
/** @typedef {(update: Update, id?: string, refused?: Problem) => void} Put  `id` is of the job that it is about */

/** More than that wait for nobody: who iterates and is so far behind is told of the ends, and how things stand then. */
const LIMIT = 5000

/**
 * Ends by itself. Events: `update` for everything, `connection` when that has changed, and each event of a job under
 * its own type; `detail` is the update.
 * @template {Update} U
 */
export class Watch extends EventTarget {
  /** @type {U[] | null} null: nobody iterates */
  #queue = []
  #iterated = false
  /** @type {(nothing?: any) => void} */
  #wake = () => {}
  #over = false
  /** @type {Problem | undefined} */
  #refused
  #leave
  #signal
  #many
  #connection = "connecting"

  /**
   * @param {Follow} follow
   * @param {string[]} keys
   * @param {boolean} many
   * @param {AbortSignal} [signal]
   */
  constructor(follow, keys, many, signal) {
    super()
    this.#many = many
    this.#leave = follow(keys, many, (...told) => this.#put(...told))
    this.#signal = signal
    if (signal?.aborted) this.close()
    else signal?.addEventListener("abort", this.close)
  }

  /** Stop; the job goes on. */
  close = () => {
    this.#over = true
    this.#leave()
    this.#signal?.removeEventListener("abort", this.close)
    this.#wake()
  }

  /** @param {Parameters<EventTarget["addEventListener"]>} given */
  addEventListener(...given) {
    if (!this.#iterated) this.#queue = null
    super.addEventListener(...given)
  }

  /**
   * @returns {AsyncGenerator<U, void, void>}
   * @throws {Problem} when it is refused
   */
  async *[Symbol.asyncIterator]() {
    this.#iterated = true
    this.#queue ??= []
    try {
      while (true) {
        const update = this.#queue.shift()
        if (update) yield update
        else if (this.#refused) throw this.#refused
        else if (this.#over) return
        else await new Promise((resolve) => (this.#wake = resolve))
      }
    } finally {
      this.close()
    }
  }

  /** @type {Put} */
  #put(update, id = undefined, refused = undefined) {
    if (this.#over) return
    const detail = /** @type {any} */ (this.#many ? { id: id ?? null, ...update } : update)
    const { event, connection } = update
    const changed = connection !== this.#connection
    this.#connection = connection
    this.#refused = refused
    this.#store(detail, event)
    for (const name of ["update", changed && "connection", event?.type]) {
      if (name) this.dispatchEvent(new CustomEvent(name, { detail }))
    }
    if (connection === "ended" || refused) this.close()
  }

  /**
   * @param {U} update
   * @param {JobEvent | null} event
   */
  #store(update, event) {
    const queue = this.#queue
    if (!queue) return
    const last = queue.at(-1)?.event
    // Each report of progress is whole: of several in a row the latest is enough.
    if (event?.type === "progress" && last?.type === "progress" && last.job_id === event.job_id) queue.pop()
    if (queue.push(update) > LIMIT) {
      const gap = { ...update, event: { type: "gap", reason: "slow" } }
      // Each end, and the latest of each job.
      const kept = new Map(queue.map((one) => [one.event && isEnd(one.event) ? one : one.job?.id, one]))
      this.#queue = [gap, ...kept.values()]
    }
    this.#wake()
  }
}
