/** What somebody should know wherever they look: the server is away, no worker is there, jobs that nobody can take. */

import { number } from "../src/format.js"
import { get, make, prose, write } from "./dom.js"
import { queryOf } from "./filters.js"
import { href } from "./router.js"

/** @typedef {import("../src/job.js").Job} Job */

const NO_WORKER =
  "No worker is running. Jobs are accepted and wait until one is there: start one with `milepost worker MODULE`, or " +
  "everything at once with `milepost up`."
const STUCK = new Set(["no_worker_for_queue", "no_worker_for_task"])
const NAMED = 3

export class Alarm {
  #notice = get("#notice")
  #workers = get("#workers")
  /** @type {HTMLAnchorElement[]} to the jobs that wait, one a sentence */
  #links = []
  /** @type {string} what is wrong with the server, "" when nothing is */
  trouble = ""

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app
  }

  /** Say what there is to say now. */
  draw() {
    const { workers } = this.app.known
    const nobody = workers !== null && workers.length === 0
    const stuck = nobody || this.trouble ? [] : stuckOf(this.app.live.jobs.values())
    const named = stuck.slice(0, NAMED).sort((one, other) => (one.message < other.message ? -1 : 1)) // they keep their places
    const sentences = this.trouble ? [this.trouble] : nobody ? [NO_WORKER] : named.map(({ message }) => message)
    this.#say(sentences, named, stuck.length - named.length)
    write(this.#workers, workers === null ? "" : workers.length === 1 ? "1 worker" : `${workers.length} workers`)
    if (workers !== null) this.#workers.dataset.there = String(workers.length > 0)
  }

  /**
   * @param {string[]} sentences
   * @param {Stuck[]} stuck  what the sentences are about
   * @param {number} more  that are not named
   */
  #say(sentences, stuck, more) {
    const said = JSON.stringify([sentences, more])
    if (this.#notice.dataset.said !== said) { // said again, it would be read out again
      this.#notice.dataset.said = said
      this.#notice.hidden = sentences.length === 0
      this.#links = stuck.map(() => make("a", { "aria-live": "off" })) // numbers change all the time
      const lines = sentences.map((sentence, place) => make("p", {}, ...prose(sentence), " ", this.#links[place]))
      if (more) lines.push(make("p", {}, `The same holds for ${more} other tasks or queues.`))
      this.#notice.replaceChildren(...lines)
    }
    stuck.forEach((one, place) => point(this.#links[place], one))
  }
}

/** @typedef {{message: string, count: number, task: string, queue: string}} Stuck */

/**
 * @param {Iterable<Job>} jobs
 * @returns {Stuck[]} the most jobs first
 */
function stuckOf(jobs) {
  /** @type {Map<string, Stuck>} */
  const found = new Map()
  for (const { waiting: why, task, queue } of jobs) {
    if (!why || !STUCK.has(why.reason)) continue
    const one = found.get(why.message) ?? { message: why.message, count: 0, queue, task: why.reason === "no_worker_for_task" ? task : "" }
    one.count += 1
    found.set(why.message, one)
  }
  return [...found.values()].sort((one, other) => other.count - one.count)
}

/**
 * @param {HTMLAnchorElement} link
 * @param {Stuck} stuck
 */
function point(link, { count, task, queue }) {
  const filter = { status: ["queued", "retrying"], queue, ...(task ? { task } : {}) }
  link.href = href("jobs", "", queryOf(filter))
  write(link, count === 1 ? "1 job waits." : `${number(count)} jobs wait.`)
}
