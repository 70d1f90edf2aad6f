/** The jobs that a filter finds: those that the live list knows, and older ones as they are asked for. */

import { matches, newestFirst, wire } from "./filters.js"

/** @typedef {import("../src/job.js").Job} Job */
/** @typedef {import("./filters.js").Filter} Filter */

const PAGE = 100
/** Who wants to see more than that wants a filter. */
const MOST = 5000

export class Shelf {
  /** @type {Map<string, Job>} what was fetched */
  #fetched = new Map()
  /** @type {string | null | undefined} undefined before the first page, null after the last */
  #cursor
  /** @type {Promise<void> | null} */
  #asking = null

  /**
   * @param {import("./app.js").App} app
   * @param {Filter} filter
   */
  constructor(app, filter) {
    this.app = app
    this.filter = filter
  }

  get isWhole() {
    return this.#cursor === null || this.app.session.readOnly
  }

  get isFull() {
    return this.#fetched.size >= MOST
  }

  get isAsking() {
    return this.#asking !== null
  }

  /** @returns {Job[]} newest first */
  jobs() {
    const { live } = this.app
    /** @type {Job[]} */
    const found = []
    for (const job of live.jobs.values()) if (matches(this.filter, job)) found.push(job)
    for (const job of this.#fetched.values()) if (!live.jobs.has(job.id) && matches(this.filter, job)) found.push(job)
    return found.sort(newestFirst)
  }

  /**
   * Take the newer one of what is known of a job: a page that was fetched ages, and the live list lets go of jobs.
   * @param {Iterable<string>} ids  of jobs that have changed
   */
  keep(ids) {
    for (const id of ids) {
      const job = this.app.live.jobs.get(id)
      if (job?.done && (this.#fetched.has(id) || this.#fetched.size < MOST)) this.#fetched.set(id, job)
      if (!job) this.#fetched.delete(id)
    }
  }

  /**
   * Fetch the next older page.
   * @returns {Promise<void>}
   * @throws {import("../src/http.js").Problem}
   */
  async more() {
    if (this.isWhole || this.isFull) return
    this.#asking ??= this.#ask().finally(() => (this.#asking = null))
    await this.#asking
  }

  async #ask() {
    const cursor = this.#cursor ? { cursor: this.#cursor } : {}
    const page = await this.app.client.list({ ...wire(this.filter), limit: PAGE, ...cursor })
    for (const job of page.items) this.#fetched.set(job.id, job)
    this.#cursor = page.next_cursor
  }
}
