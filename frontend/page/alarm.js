/** What somebody should know wherever they look: the server is away, no worker is there, jobs that nobody can take. */

import { number } from "../src/format.js"
import { get, make, prose } from "./dom.js"
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
    const sentences = this.trouble ? [this.trouble] : nobody ? [NO_WORKER] : stuck.slice(0, NAMED).map(({ message }) => message)
    this.#say(sentences, stuck)
    this.#workers.textContent = workers === null ? "" : workers.length === 1 ? "1 worker" : `${workers.length} workers`
    if (workers !== null) this.#workers.dataset.there = String(workers.length > 0)
  }

  /**
   * @param {string[]} sentences
   * @param {Stuck[]} stuck
   */
  #say(sentences, stuck) {
    const said = JSON.stringify([sentences, stuck.map(({ count }) => count)])
    if (this.#notice.dataset.said === said) return // said again, it would be read out again
    this.#notice.dataset.said = said
    this.#notice.hidden = sentences.length === 0
    const lines = sentences.map((sentence, place) => make("p", {}, ...prose(sentence), stuck[place] && " ", stuck[place] && waiting(stuck[place])))
    if (stuck.length > NAMED) lines.push(make("p", {}, `The same holds for ${stuck.length - NAMED} other tasks or queues.`))
    this.#notice.replaceChildren(...lines)
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

/** @param {Stuck} stuck */
function waiting({ count, task, queue }) {
  const filter = { status: ["queued", "retrying"], queue, ...(task ? { task } : {}) }
  return make("a", { href: href("jobs", "", queryOf(filter)) }, count === 1 ? "1 job waits." : `${number(count)} jobs wait.`)
}
