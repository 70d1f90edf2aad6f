/** The tasks that workers offer, or have offered. */

import { duration } from "../src/format.js"
import { firstParagraph } from "./composer.js"
import { make, prose } from "./dom.js"
import { href } from "./router.js"
import { empty, Table } from "./table.js"

/** @typedef {import("../src/client.js").TaskInfo} TaskInfo */

export class TasksView {
  title = "Tasks"
  #table = new Table("Tasks", ["Task", "Workers", "Queue", "Attempts", "Time limit", ""])
  #empty = empty("No worker has offered a task yet.", "Start one, and its tasks appear here:", "milepost worker MODULE")

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app
    this.element = make("section", {}, make("div", { class: "head" }, make("h1", { tabindex: -1 }, "Tasks")), this.#empty, this.#table.element)
    this.unsubscribe = app.known.subscribe(() => this.#draw())
  }

  async show() {
    this.#draw()
  }

  close() {
    this.unsubscribe()
  }

  #draw() {
    const tasks = [...this.app.known.tasks.values()]
    this.#empty.hidden = tasks.length > 0 || this.app.known.workers === null
    this.#table.show(tasks.map((task) => ({ id: task.name, bad: task.workers === 0, cells: this.#cells(task) })))
  }

  /** @param {TaskInfo} task */
  #cells({ name, description, workers, queue, max_attempts: attempts, timeout_seconds: limit }) {
    const jobs = make("a", { href: href("jobs", "", { task: name }) }, name)
    const about = make("p", { class: "hint" }, ...prose(firstParagraph(description)))
    const start = make("a", { href: href("new", "", { task: name }), class: "quiet edged button", "aria-label": `Start ${name}` }, "Start")
    const offering = workers ? String(workers) : make("strong", { class: "alarm" }, "no worker offers it")
    return [make("div", {}, jobs, about), offering, queue, String(attempts), limit === null ? "none" : duration(limit), start]
  }
}
