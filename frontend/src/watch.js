/**
 * Following jobs to their end: as an async iterator, or by events. What the connection does and what the job does are
 * told apart.
 * @module
 */

import { Problem } from "./http.js"
import { isEnd } from "./plan.js"

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

/** @typedef {import("./hub.js").Hub} Hub */
/** @typedef {import("./hub.js").Told} Told */

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
  #wake = () => {}
  #over = false
  /** @type {Problem | null} */
  #refused = null
  #leave
  #signal
  /** @type {Set<string> | null} the jobs that have not ended, of many; null: it is about one job */
  #left
  /** @type {Record<string, number>} */
  #endings = {}
  /** @type {Update} */
  #last = { job: null, event: null, connection: "connecting", problem: null }

  /**
   * @param {Hub} hub
   * @param {string[]} keys
   * @param {boolean} many
   * @param {AbortSignal} [signal]
   */
  constructor(hub, keys, many, signal) {
    super()
    this.#left = many ? new Set(keys) : null
    this.#leave = hub.follow(keys, (told) => this.#take(told))
    if (many && !keys.length) queueMicrotask(() => this.#end())
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
        else await new Promise((resolve) => (this.#wake = () => resolve(undefined)))
      }
    } finally {
      this.close()
    }
  }

  /** @param {Told} told */
  #take({ job, event: said, connection, problem, refusal }) {
    if (this.#over) return
    /** @type {JobEvent | null} */
    let event = said ?? null
    const left = this.#left
    const id = event?.job_id
    if (!left) job ??= this.#last.job
    if (event && isEnd(event)) {
      if (left && id) {
        const { status = "missing" } = event
        this.#endings[status] = (this.#endings[status] ?? 0) + 1
        left.delete(id)
        if (event.type === "end") event = { ...event, type: "job_end" }
      } else if (event.type === "job_missing") {
        problem = event.detail ?? "There is no job with this id."
        refusal = { status: event.status ?? 404, type: "urn:milepost:problem:job-not-found" }
      } else {
        connection = "ended"
        event = { ...event, type: "end" }
      }
    }
    if (refusal) {
      connection = "refused"
      this.#refused = new Problem(String(problem), refusal)
    } else if (!event && connection === this.#last.connection && problem === this.#last.problem) return
    this.#put({ job, event, connection, problem }, id)
    if (left?.size === 0 && !this.#over) this.#end()
  }

  /** All jobs of many have ended, which a stream says of all its jobs only. */
  #end() {
    const by_status = this.#endings
    const jobs = Object.values(by_status).reduce((sum, one) => sum + one, 0)
    this.#put({ job: null, event: { type: "end", jobs, by_status }, connection: "ended", problem: null })
  }

  /**
   * @param {Update} update
   * @param {string} [id]
   */
  #put(update, id) {
    const detail = /** @type {any} */ (this.#left ? { id: id ?? null, ...update } : update)
    const { event, connection } = update
    const changed = connection !== this.#last.connection
    this.#last = update
    this.#store(detail, event)
    for (const name of ["update", changed && "connection", event?.type]) {
      if (name) this.dispatchEvent(new CustomEvent(name, { detail }))
    }
    if (connection === "ended" || connection === "refused") this.close()
  }

  /**
   * @param {U} update
   * @param {JobEvent | null} event
   */
  #store(update, event) {
    const queue = this.#queue
    if (!queue || this.#over) return
    const last = queue.at(-1)?.event
    // Each report of progress is whole: of several in a row the latest is enough.
    if (event?.type === "progress" && last?.type === "progress" && last.job_id === event.job_id) queue.pop()
    if (queue.push(update) > LIMIT) {
      const gap = { ...update, event: { type: "gap", reason: "slow" } }
      const latest = new Map(queue.map((one) => [one.job?.id, one]))
      const kept = new Set(latest.values())
      this.#queue = [gap, ...queue.filter((one) => kept.has(one) || (one.event && isEnd(one.event)))]
    }
    this.#wake()
  }
}
