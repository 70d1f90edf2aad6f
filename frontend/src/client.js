/**
 * A client of the HTTP API: submit, look, cancel, watch.
 * @module
 */

import { Backoff } from "./backoff.js"
import { ANSWER_MS, request, sender } from "./http.js"
import { readJob } from "./job.js"
import { late } from "./late.js"
import { Watch } from "./watch.js"

/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./http.js").Problem} Problem */
/** @typedef {import("./fold.js").JobEvent} JobEvent */
/** @typedef {import("./watch.js").Update} Update */
/** @typedef {import("./watch.js").ManyUpdate} ManyUpdate */
/** @typedef {Milepost} Client */

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
 * A queue that is used, over all tenants; see GET /v1/queues.
 * @typedef {object} QueueInfo
 * @property {string} name
 * @property {number} waiting
 * @property {number} scheduled
 * @property {number} running
 * @property {number | null} oldest_waiting_seconds
 * @property {number} workers
 */

/**
 * Options of a submission beside task and params, as POST /v1/jobs takes them.
 * @typedef {{queue?: string, priority?: number, delay_seconds?: number, run_at?: string, timeout_seconds?: number,
 *   start_timeout_seconds?: number, max_attempts?: number, tags?: string[], metadata?: Record<string, unknown>,
 *   batch_id?: string, allow_unknown_task?: boolean}} JobOptions
 */

/**
 * `next` is the `after` of the next page; `more`: there is one already; `done`: the `end` is on this one.
 * @typedef {{items: JobEvent[], next: string | null, more: boolean, gap: string | null, done: boolean}} EventPage
 */

/** @typedef {Record<string, string | number | boolean | string[] | null | undefined>} Filter  as GET /v1/jobs takes it */

/**
 * What has come of an action on many jobs, all requests together: see POST /v1/jobs/cancel.
 * @typedef {{dry_run: boolean, matched: number, by_status: Record<string, number>, capped: string[], changed: number,
 *   skipped: number, refusals: {id: string, type: string, detail: string}[], next_cursor: null}} Outcome
 */

/**
 * `baseUrl`: where the API is, the page's own folder by default. Who asks is said by a stream token (`token`), by what
 * gives one whenever it is needed (`getToken`), or by an API key, which no page should have. Tabs share a connection
 * where they have the same base and the same token; with `getToken` under the name `share`, which says for whom it is
 * ("" for nobody).
 * @typedef {{baseUrl?: string | URL, token?: string, getToken?: () => string | Promise<string>, apiKey?: string,
 *   share?: string}} Options
 */

/** How every watch begins, and what a server renders: it follows nothing. @type {Readonly<Update>} */
export const CONNECTING = { job: null, event: null, connection: "connecting", problem: null }

const SUBMIT_TRIES = 3

export class Milepost {
  #send
  #follow

  /** @param {Options} [options] */
  constructor({ baseUrl, token, apiKey, getToken, share } = {}) {
    const page = globalThis.document?.baseURI
    this.base = new URL(baseUrl === undefined ? "." : `${baseUrl}`.replace(/\/?$/, "/"), page)
    const secret = token ?? apiKey
    this.#send = sender(secret, getToken)
    this.#follow = late(({ Hub }) => new Hub(this, this.#send, share ?? (getToken ? "" : `${secret} `)))
  }

  /** @returns {Promise<TaskInfo[]>} */
  tasks() {
    return this.#items("v1/tasks")
  }

  /** @returns {Promise<WorkerInfo[]>} */
  workers() {
    return this.#items("v1/workers")
  }

  /** @returns {Promise<QueueInfo[]>} */
  queues() {
    return this.#items("v1/queues")
  }

  /**
   * Submit a job. It is accepted once, however often the network makes us ask.
   * @param {string} task
   * @param {Record<string, unknown>} [params]
   * @param {JobOptions & {idempotencyKey?: string}} [options]
   * @returns {Promise<Job>}
   * @throws {Problem}
   */
  async submit(task, params = {}, { idempotencyKey, ...options } = {}) {
    return readJob(await this.#post("v1/jobs", { body: { task, params, ...options }, key: idempotencyKey }))
  }

  /**
   * Do a job again that has ended.
   * @param {string} id
   * @param {{idempotencyKey?: string}} [options]
   * @returns {Promise<Job>} the new job
   * @throws {Problem} 409 when it has not ended
   */
  async retry(id, { idempotencyKey } = {}) {
    return readJob(await this.#post(path(id, "/retry"), { key: idempotencyKey }))
  }

  /**
   * @param {string} id
   * @returns {Promise<"cancelled" | "requested" | "already_done">}
   */
  async cancel(id) {
    return (await this.#post(path(id, "/cancel"))).outcome
  }

  /**
   * Forget a job that has ended.
   * @param {string} id
   * @returns {Promise<void>}
   * @throws {Problem} 409 when it has not ended
   */
  delete(id) {
    return this.#json(path(id), {}, { method: "DELETE" })
  }

  /** @param {Filter} filter @param {{dryRun?: boolean}} [options] */
  cancelAll(filter, options) {
    return this.#all("cancel", filter, options)
  }

  /** @param {Filter} filter @param {{dryRun?: boolean}} [options] */
  retryAll(filter, options) {
    return this.#all("retry", filter, options)
  }

  /** @param {Filter} filter @param {{dryRun?: boolean}} [options] */
  deleteAll(filter, options) {
    return this.#all("delete", filter, options)
  }

  /**
   * @param {string} id
   * @returns {Promise<Job>}
   * @throws {Problem} 404 when there is no such job
   */
  async get(id) {
    return readJob(await this.#json(path(id)))
  }

  /**
   * @param {Filter} [filter]  status, task, tag, q, limit, cursor and the like
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<{items: Job[], next_cursor: string | null}>}  newest first
   */
  async list(filter = {}, options) {
    const page = await this.#json("v1/jobs", filter, options)
    return { ...page, items: page.items.map(readJob) }
  }

  /**
   * @param {Filter} [filter]  as of `list`
   * @returns {Promise<{by_status: Record<string, number>, total: number, capped: string[]}>}
   */
  counts(filter) {
    return this.#json("v1/jobs/counts", filter)
  }

  /**
   * A piece of the history, from the beginning without `after`; with `wait` a long-poll: how it stands, then what comes.
   * @param {string} id
   * @param {{after?: string, limit?: number, wait?: number, signal?: AbortSignal}} [options]  `wait` in seconds
   * @returns {Promise<EventPage | null>}  null: after the end there is nothing
   */
  events(id, { after, limit = 500, wait, signal } = {}) {
    const ms = ANSWER_MS + (wait ?? 0) * 1000
    return this.#json(path(id, "/events"), { after: after || null, limit, wait }, { signal, ms })
  }

  /**
   * @param {string} id
   * @returns {Promise<{cursor: string | null} & Record<string, any>>}  the few fields that a poller needs
   */
  status(id) {
    return this.#json(path(id, "/status"))
  }

  /**
   * @param {string} id
   * @returns {Promise<unknown>} what the task returned, of any size
   * @throws {Problem} 409 when there is none, 410 when it is no longer kept
   */
  result(id) {
    return this.#json(path(id, "/result"))
  }

  /**
   * Where the result is, for a link; who is asked for a token has to fetch it by `result`.
   * @param {string} id
   * @returns {URL}
   */
  resultUrl(id) {
    return this.url(path(id, "/result"))
  }

  /**
   * @param {string} id
   * @param {string} [cursor]  go on after this event
   * @returns {URL}
   */
  streamUrl(id, cursor = "") {
    return this.url(path(id, "/status/stream"), { last_event_id: cursor.split("~")[0] || null })
  }

  /**
   * Follow a job to its end, whatever happens to the connection.
   * @param {string} id
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Watch<Update>}
   */
  watch(id, { signal } = {}) {
    return new Watch(this.#follow, [id], false, signal)
  }

  /**
   * Follow many jobs: those that are named, those that carry a tag, are of a batch or both, or all there are.
   * @param {{ids?: string[], tag?: string, batch?: string, all?: true}} which
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Watch<ManyUpdate>}
   */
  watchMany({ ids, tag, batch, all }, { signal } = {}) {
    if (!ids && !tag && !batch && !all) throw new TypeError("Which jobs? Say ids, tag, batch or all.")
    const { search } = this.url("", { tag, batch })
    return new Watch(this.#follow, ids ? [...new Set(ids)] : [search || "?"], true, signal)
  }

  /**
   * @param {string} place  below the base
   * @param {Filter} [query]
   * @returns {URL}
   */
  url(place, query = {}) {
    const url = new URL(place, this.base)
    for (const [name, value] of Object.entries(query)) {
      for (const one of [value ?? []].flat()) url.searchParams.append(name, /** @type {string} */ (one)) // which makes text of it
    }
    return url
  }

  /**
   * @param {string} place
   * @param {Filter} [query]
   * @param {Parameters<typeof request>[2]} [options]
   */
  #json(place, query, options) {
    return request(this.#send, this.url(place, query), options)
  }

  /** @param {string} place */
  async #items(place) {
    return (await this.#json(place)).items
  }

  /**
   * Ask again where the answer got lost: under its key nothing is done twice.
   * @param {string} place
   * @param {{body?: object, key?: string, query?: Filter}} [what]
   */
  async #post(place, { body, key = newKey(), query } = {}) {
    const backoff = new Backoff({ base: 400, cap: 2000 })
    while (true) {
      try {
        return await this.#json(place, query, { method: "POST", body, headers: { "Idempotency-Key": key } })
      } catch (error) {
        const { temporary, retryAfter } = /** @type {any} a Problem, or nothing that passes */ (error)
        const wait = retryAfter * 1000 // who submits is told of a long one, rather than kept waiting
        if (!temporary || wait > ANSWER_MS || backoff.tries >= SUBMIT_TRIES - 1) throw error
        await new Promise((resolve) => setTimeout(resolve, backoff.next() + wait))
      }
    }
  }

  /**
   * A request works for some seconds, then says where to go on.
   * @param {string} action
   * @param {Filter} filter
   * @param {{dryRun?: boolean}} [options]
   * @returns {Promise<Outcome>}
   */
  async #all(action, filter, { dryRun } = {}) {
    const key = newKey()
    /** @type {any} */
    let sum
    do {
      const query = { ...filter, dry_run: dryRun, cursor: sum?.next_cursor }
      sum = added(sum, await this.#post(`v1/jobs/${action}`, { key, query }))
    } while (sum.next_cursor)
    return sum
  }
}

/** @type {Map<string, Milepost>} */
const shared = new Map()

/**
 * The one client of this page for that API and token: all elements share it.
 * @param {string | URL} [base]  the API whose `/milepost.js` is on the page, or the page's own folder
 * @param {string} [token]
 * @returns {Milepost}
 */
export function sharedClient(base = /** @type {any} */ (globalThis)[Symbol.for("milepost.api")], token) {
  const key = `${base} ${token}`
  const client = shared.get(key) ?? new Milepost({ baseUrl: base, token })
  shared.set(key, client)
  return client
}

/**
 * Where a job is, below the base.
 * @param {string} id
 * @param {string} [rest]
 */
export function path(id, rest = "") {
  return `v1/jobs/${encodeURIComponent(id)}${rest}`
}

/**
 * @param {any} sum
 * @param {any} more
 * @returns {any} numbers added, lists in a row, everything else as it is now
 */
function added(sum, more) {
  if (Array.isArray(more)) return [...(sum ?? []), ...more]
  if (typeof more === "number") return more + (sum ?? 0)
  if (Object(more) !== more) return more
  const all = { ...sum }
  for (const name in more) all[name] = added(all[name], more[name])
  return all
}

/** A key nobody has used before. (`crypto.randomUUID` is missing on pages served over plain HTTP.) */
function newKey() {
  return `${crypto.getRandomValues(new Uint32Array(4))}`
}
