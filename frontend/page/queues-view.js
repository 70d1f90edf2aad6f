/** The queues: what they hold, and who takes from them. */

import { number } from "../src/format.js"
import { Problem } from "../src/http.js"
import { make } from "./dom.js"
import { href } from "./router.js"
import { empty, Table } from "./table.js"
import { waited } from "./workers-view.js"

/** @typedef {{name: string, waiting: number, scheduled: number, running: number, oldest_waiting_seconds: number | null, workers: number}} Queue */

export class QueuesView {
  title = "Queues"
  #table = new Table("Queues", ["Queue", "Waiting", "Longest wait", "Scheduled", "Running", "Workers"])
  #empty = empty("No queue yet.", "A queue is there as soon as a worker listens on it or a job is submitted to it:", "milepost worker MODULE --queue NAME")

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app
    this.element = make("section", {}, make("div", { class: "head" }, make("h1", { tabindex: -1 }, "Queues")), this.#empty, this.#table.element)
    this.unsubscribe = app.known.subscribe(() => this.show())
  }

  async show() {
    try {
      const queues = /** @type {Queue[]} */ (await this.app.client.queues())
      this.#empty.hidden = queues.length > 0
      this.#table.show(queues.map((queue) => ({ id: queue.name, bad: isStuck(queue), cells: cells(queue) })))
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error)
    }
  }

  close() {
    this.unsubscribe()
  }
}

/** @param {Queue} queue */
function isStuck({ waiting, workers }) {
  return workers === 0 && waiting > 0
}

/** @param {Queue} queue */
function cells(queue) {
  const { name, waiting, scheduled, running, oldest_waiting_seconds: oldest, workers } = queue
  const jobs = make("a", { href: href("jobs", "", { queue: name }) }, name)
  const command = make("code", {}, `milepost worker MODULE${name === "default" ? "" : ` --queue ${name}`}`)
  const nobody = make("span", {}, make("strong", { class: "alarm" }, "no worker takes from it"), make("p", { class: "hint" }, "Start one: ", command))
  const who = isStuck(queue) ? nobody : number(workers)
  return [jobs, number(waiting), make("span", { class: "whole" }, waited(oldest)), number(scheduled), number(running), who]
}
