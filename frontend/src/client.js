/**
 * A client of the HTTP API: submit, look, cancel, watch.
 * @module
 */

import { Backoff } from "./backoff.js"
import { Problem, request } from "./http.js"
import { readJob } from "./job.js"
import { Slots } from "./slots.js"
import { Lane } from "./wait.js"
import { watch } from "./watch.js"

/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./fold.js").JobEvent} JobEvent */
/** @typedef {import("./watch.js").Update} Update */

/**
 * What a worker offers; the schemas are JSON Schema 2020-12. `workers` is how many of those who are there offer it.
 * @typedef {object} TaskInfo
 * @property {string} name
 * @property {string} description
 * @property {Record<string, any>} params_schema
 * @property {string} queue
 * @property {number | null} timeout_seconds
 * @property {number | null} start_timeout_seconds
 * @property {number} max_attempts
 * @property {number | null} concurrency
 * @property {number} workers
 */

/**
 * One worker process as it last announced itself. `load.slots` is the part of its slots in use, 0 to 1.
 * @typedef {object} WorkerInfo
 * @property {string} id
 * @property {string} host
 * @property {number} pid
 * @property {string} version
 * @property {string[]} queues
 * @property {string[]} modules
 * @property {string[]} tasks
 * @property {number} concurrency
 * @property {Record<string, number>} limits
 * @property {"running" | "draining"} state
 * @property {{id: string | null, task: string, attempt: number, since: string}[]} running  `id` is null where the job is another tenant's
 * @property {{slots: number, cpu_percent: number, memory_bytes: number, host: number}} load
 * @property {string} started_at
 * @property {string} last_seen_at
 */

/**
 * Options of a submission beside task and params, as POST /v1/jobs takes them.
 * @typedef {{queue?: string, priority?: number, delay_seconds?: number, run_at?: string, timeout_seconds?: number,
 *   start_timeout_seconds?: number, max_attempts?: number, tags?: string[], metadata?: Record<string, unknown>,
 *   batch_id?: string, allow_unknown_task?: boolean}} JobOptions
 */

/** @typedef {{items: JobEvent[], next: string | null, more: boolean, gap: string | null,
 *   done: boolean}} EventPage */

const SUBMIT_TRIES = 3

export class Client {
  #lane = new Lane()
  #slots

  /**
   * @param {{base?: string | URL, slots?: Slots}} [options]  `base`: where the API is, the page's own folder by default
   */
  constructor({ base = globalThis.document?.baseURI, slots = new Slots() } = {}) {
    this.base = new URL(base)
    this.#slots = slots
  }

  /** @returns {Promise<TaskInfo[]>} */
  async tasks() {
    return (await this.#get("v1/tasks")).items
  }

  /** @returns {Promise<WorkerInfo[]>} */
  async workers() {
    return (await this.#get("v1/workers")).items
  }

  /**
   * Submit a job. It is accepted once, however often the network makes us ask.
   * @param {string} task
   * @param {Record<string, unknown>} [params]
   * @param {JobOptions & {idempotencyKey?: string}} [options]
   * @returns {Promise<Job>}
   * @throws {Problem}
   */
  async submit(task, params = {}, { idempotencyKey = newKey(), ...options } = {}) {
    const body = { task, params, ...options }
    const headers = { "Idempotency-Key": idempotencyKey }
    const backoff = new Backoff({ base: 400, cap: 2000 })
    while (true) {
      try {
        return readJob(await request(this.url("v1/jobs"), { method: "POST", body, headers }))
      } catch (error) {
        if (!(error instanceof Problem && error.temporary) || backoff.tries >= SUBMIT_TRIES - 1) throw error
        const milliseconds = error.retryAfter === null ? backoff.next() : (backoff.next(), error.retryAfter * 1000)
        await new Promise((resolve) => setTimeout(resolve, milliseconds))
      }
    }
  }

  /**
   * @param {string} id
   * @returns {Promise<Job>}
   * @throws {Problem} 404 when there is no such job
   */
  async get(id) {
    return readJob(await this.#get(path(id)))
  }

  /**
   * @param {Record<string, string | number | string[]>} [filter]  status, task, limit, cursor and the like
   * @returns {Promise<{items: Job[], next_cursor: string | null}>}  newest first
   */
  async list(filter = {}) {
    const page = await this.#get("v1/jobs", filter)
    return { ...page, items: page.items.map(readJob) }
  }

  /**
   * @param {string} id
   * @returns {Promise<"cancelled" | "requested" | "already_done">}
   */
  async cancel(id) {
    return (await request(this.url(path(id, "/cancel")), { method: "POST" })).outcome
  }

  /**
   * A piece of the history.
   * @param {string} id
   * @param {{after?: string, limit?: number}} [options]  from the beginning without `after`
   * @returns {Promise<EventPage>}
   */
  events(id, { after = "", limit = 500 } = {}) {
    return this.#get(path(id, "/events"), after ? { after, limit } : { limit })
  }

  /**
   * @param {string} id
   * @returns {Promise<{cursor: string | null} & Record<string, any>>}  the few fields that a poller needs
   */
  status(id) {
    return this.#get(path(id, "/status"))
  }

  /**
   * @param {string} id
   * @param {string} [cursor]  go on after this event
   * @returns {URL}
   */
  streamUrl(id, cursor = "") {
    return this.url(path(id, "/status/stream"), cursor ? { last_event_id: cursor } : {})
  }

  /**
   * Where to fetch the result of a job that is too large for its events.
   * @param {string} id
   * @returns {URL}
   */
  resultUrl(id) {
    return this.url(path(id, "/result"))
  }

  /**
   * Follow a job to its end, whatever happens to the connection.
   * @param {string} id
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<Update, void, void>}
   * @throws {Problem} when there is no such job, or no longer
   */
  watch(id, { signal = new AbortController().signal } = {}) {
    return watch(this, this.#slots, id, signal)
  }

  /**
   * @param {string} place  below the base
   * @param {Record<string, string | number | string[]>} [query]
   * @returns {URL}
   */
  url(place, query = {}) {
    const url = new URL(place, this.base)
    for (const [name, value] of Object.entries(query)) {
      for (const one of [value].flat()) url.searchParams.append(name, String(one))
    }
    return url
  }

  /**
   * Reading goes one request at a time: with four streams open, one connection is left for it and one to submit.
   * @param {string} place
   * @param {Record<string, string | number | string[]>} [query]
   */
  #get(place, query) {
    return this.#lane.run(() => request(this.url(place, query)))
  }
}

/** @type {Map<string, Client>} */
const shared = new Map()

/**
 * The one client of this page for that API: all elements share its connections.
 * @param {string | URL} [base]  where the script of an API has said that it is (`/milepost.js`), or the page's own folder
 * @returns {Client}
 */
export function sharedClient(base = /** @type {any} */ (globalThis)[Symbol.for("milepost.api")] ?? document.baseURI) {
  const { href } = new URL(base, document.baseURI)
  const client = shared.get(href) ?? new Client({ base: href })
  shared.set(href, client)
  return client
}

/**
 * @param {string} id
 * @param {string} [rest]
 */
function path(id, rest = "") {
  return `v1/jobs/${encodeURIComponent(id)}${rest}`
}

/** A key nobody has used before. (`crypto.randomUUID` is missing on pages served over plain HTTP.) */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")
}
