/** The workers that are there. */

import { bytes, duration } from "../src/format.js"
import { make } from "./dom.js"
import { jobLink } from "./router.js"
import { empty, Table } from "./table.js"
import { when } from "./times.js"

/** @typedef {import("../src/client.js").WorkerInfo} WorkerInfo */

export class WorkersView {
  title = "Workers"
  #table = new Table("Workers", ["Worker", "State", "Slots", "Runs", "Queues", "Load", "Since"])
  #empty = empty("No worker is there.", "Jobs are accepted and wait until one is. Start one:", "milepost worker MODULE")

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app
    this.element = make("section", {}, make("div", { class: "head" }, make("h1", { tabindex: -1 }, "Workers")), this.#empty, this.#table.element)
    this.unsubscribe = app.known.subscribe(() => this.#draw())
  }

  async show() {
    this.#draw()
  }

  close() {
    this.unsubscribe()
  }

  #draw() {
    const { workers } = this.app.known
    if (workers === null) return
    this.#empty.hidden = workers.length > 0
    this.#table.show(workers.map((worker) => ({ id: worker.id, bad: worker.state === "draining", cells: cells(worker) })))
  }
}

/** @param {WorkerInfo} worker */
function cells({ host, pid, version, state, concurrency, running, queues, tasks, modules, load, started_at: since }) {
  const who = make("div", {}, make("strong", {}, host), ` ${pid}`, make("p", { class: "hint" }, `${version}, ${tasks.length} tasks of ${modules.join(", ") || "its own"}`))
  const slots = make("div", { class: "slots" }, make("meter", { min: 0, max: concurrency, value: running.length, "aria-label": "Slots in use" }), ` ${running.length} of ${concurrency}`)
  const jobs = running.slice(0, 8).map((one) => make("li", {}, `${one.task} `, one.id ? jobLink(one.id) : make("span", { class: "hint" }, "of another tenant"), make("span", { class: "hint" }, " since ", when(one.since))))
  const more = running.length > 8 && make("li", { class: "hint" }, `and ${running.length - 8} more`)
  const list = running.length ? make("ul", { class: "plain" }, ...jobs, more) : make("span", { class: "hint" }, "nothing")
  const word = state === "draining" ? make("strong", { class: "alarm" }, "draining: takes no more") : state
  const use = make("div", {}, make("span", { class: "whole" }, `${Math.round(load.cpu_percent)}% CPU,`), " ", make("span", { class: "whole" }, bytes(load.memory_bytes)))
  return [who, word, slots, list, queues.join(", "), use, when(since)]
}

/** @param {number | null} seconds */
export function waited(seconds) {
  return seconds === null ? "–" : duration(seconds)
}
