/** The tasks that workers offer, or have offered. */

import { duration } from "../src/format.js"
import { firstParagraph } from "./composer.js"
import { make, prose } from "./dom.js"
import { href } from "./router.js"
import { TableView } from "./table-view.js"

/** @typedef {import("../src/client.js").TaskInfo} TaskInfo */

/** @extends {TableView<TaskInfo>} */
export class TasksView extends TableView {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    super(app, {
      title: "Tasks",
      heads: ["Task", "Workers", "Queue", "Attempts", "Time limit", ""],
      empty: ["No worker has offered a task yet.", "Start one, and its tasks appear here:", "milepost worker MODULE"],
      // What is known stays so while the server is away.
      read: () => (app.known.workers || app.known.tasks.size ? [...app.known.tasks.values()] : null),
      row: (task) => ({ id: task.name, bad: task.workers === 0, cells: cells(task) }),
    })
  }
}

/** @param {TaskInfo} task */
function cells({ name, description, workers, queue, max_attempts: attempts, timeout_seconds: limit }) {
  const jobs = make("a", { href: href("jobs", "", { task: name }) }, name)
  const about = make("p", { class: "hint" }, ...prose(firstParagraph(description)))
  const start = make("a", { href: href("new", "", { task: name }), class: "quiet edged button", "aria-label": `Start ${name}` }, "Start")
  const offering = workers ? String(workers) : make("strong", { class: "alarm" }, "no worker offers it")
  return [make("div", {}, jobs, about), offering, queue, String(attempts), limit === null ? "none" : duration(limit), start]
}
