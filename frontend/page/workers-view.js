/** The workers that are there. */

import { bytes } from "../src/format.js"
import { make } from "./dom.js"
import { jobLink } from "./router.js"
import { TableView } from "./table-view.js"
import { when } from "./times.js"

/** @typedef {import("../src/client.js").WorkerInfo} WorkerInfo */

/** @extends {TableView<WorkerInfo>} */
export class WorkersView extends TableView {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    super(app, {
      title: "Workers",
      heads: ["Worker", "State", "Slots", "Runs", "Queues", "Load", "Since"],
      empty: ["No worker is there.", "Jobs are accepted and wait until one is. Start one:", "milepost worker MODULE"],
      read: () => app.known.workers,
      row: (worker) => ({ id: worker.id, bad: worker.state === "draining", cells: cells(worker) }),
    })
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
