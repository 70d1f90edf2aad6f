/** All jobs that are under way, and those that have just ended, by one stream for the whole page. */

import { Problem } from "../src/http.js"

/** @typedef {import("../src/job.js").Job} Job */

/** Jobs that have ended and are kept: enough for a list, however many thousands pass by. */
const DONE_KEPT = 500
/** The list is drawn so often at most: eyes read no faster, and a thousand bars are a thousand events at a time. */
const DRAW_MS = 200

/**
 * What changed since it was last told: `ids` of jobs, `moved` when some came, went, or are in another status.
 * @typedef {{ids: Set<string>, moved: boolean}} Change
 */

export class Live {
  /** @type {Map<string, Job>} */
  jobs = new Map()
  /** @type {string} as the client says: connecting, live, polling, reconnecting, refused */
  connection = "connecting"
  /** @type {string | null} */
  problem = null
  /** @type {Set<(change: Change) => void>} */
  #readers = new Set()
  /** @type {Change} */
  #change = { ids: new Set(), moved: false }
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  #done = 0

  /**
   * Follow until the page is left. What ends the following for good is thrown.
   * @param {import("../src/client.js").Milepost} client
   * @param {import("./session.js").Selection} selection
   * @throws {Problem}
   */
  async follow(client, selection) {
    try {
      for await (const update of client.watchMany(selection)) this.#take(update)
    } catch (error) {
      if (error instanceof Problem) this.#say("refused", error.message)
      throw error
    }
  }

  /**
   * @param {(change: Change) => void} reader
   * @returns {() => void} to be called by who has heard enough
   */
  subscribe(reader) {
    this.#readers.add(reader)
    return () => this.#readers.delete(reader)
  }

  /** @param {string} id  of a job that was deleted */
  forget(id) {
    if (this.jobs.get(id)?.done) this.#done -= 1
    this.jobs.delete(id)
    this.#tell(id, true)
  }

  /**
   * Forget those that have ended and may have been deleted: whoever shows them asks for them anew.
   * @param {(job: Job) => boolean} which
   */
  forgetAll(which) {
    for (const job of [...this.jobs.values()]) if (job.done && which(job)) this.forget(job.id)
  }

  /** @param {import("../src/watch.js").ManyUpdate} update */
  #take({ id, job, event, connection, problem }) {
    if (connection !== this.connection || problem !== this.problem) this.#say(connection, problem)
    if (id === null) return
    if (event?.type === "job_missing" || job === null) return this.forget(id)
    const before = this.jobs.get(id)
    if (job.done && !before?.done) this.#done += 1
    this.jobs.set(id, job)
    this.#tell(id, before?.status !== job.status)
    if (this.#done > DONE_KEPT * 1.2) this.#trim()
  }

  /** Let go of those that ended first. */
  #trim() {
    const ended = [...this.jobs.values()].filter((job) => job.done)
    ended.sort((one, other) => ((one.finished_at ?? "") < (other.finished_at ?? "") ? -1 : 1))
    for (const { id } of ended.slice(0, ended.length - DONE_KEPT)) this.jobs.delete(id)
    this.#done = Math.min(ended.length, DONE_KEPT)
  }

  /**
   * @param {string} connection
   * @param {string | null} problem
   */
  #say(connection, problem) {
    this.connection = connection
    this.problem = problem
    this.#tell(null, false)
  }

  /**
   * @param {string | null} id
   * @param {boolean} moved
   */
  #tell(id, moved) {
    if (id !== null) this.#change.ids.add(id)
    this.#change.moved ||= moved
    this.#timer ??= setTimeout(() => {
      const change = this.#change
      this.#change = { ids: new Set(), moved: false }
      this.#timer = undefined
      for (const reader of [...this.#readers]) reader(change)
    }, DRAW_MS)
  }
}
