/** The queues: what they hold, and who takes from them. */

import { duration, number } from "../src/format.js"
import { make } from "./dom.js"
import { href } from "./router.js"
import { TableView } from "./table-view.js"

/** @typedef {import("../src/client.js").QueueInfo} QueueInfo */

/** @extends {TableView<QueueInfo>} */
export class QueuesView extends TableView {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    super(app, {
      title: "Queues",
      heads: ["Queue", "Waiting", "Longest wait", "Scheduled", "Running", "Workers"],
      empty: ["No queue yet.", "A queue is there as soon as a worker listens on it or a job is submitted to it:", "milepost worker MODULE --queue NAME"],
      read: () => app.client.queues(),
      row: (queue) => ({ id: queue.name, bad: isStuck(queue), cells: cells(queue) }),
    })
  }
}

/** @param {QueueInfo} queue */
function isStuck({ waiting, workers }) {
  return workers === 0 && waiting > 0
}

/** @param {QueueInfo} queue */
function cells(queue) {
  const { name, waiting, scheduled, running, oldest_waiting_seconds: oldest, workers } = queue
  const jobs = make("a", { href: href("jobs", "", { queue: name }) }, name)
  const command = make("code", {}, `milepost worker MODULE${name === "default" ? "" : ` --queue ${name}`}`)
  const nobody = make("span", {}, make("strong", { class: "alarm" }, "no worker takes from it"), make("p", { class: "hint" }, "Start one: ", command))
  const who = isStuck(queue) ? nobody : number(workers)
  return [jobs, number(waiting), make("span", { class: "whole" }, waited(oldest)), number(scheduled), number(running), who]
}

/** @param {number | null} seconds */
function waited(seconds) {
  return seconds === null ? "–" : duration(seconds)
}
