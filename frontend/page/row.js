/** One job in a list. */

import { describe } from "../src/view.js"
import { act, LABELS, possible } from "./actions.js"
import { button, make, write } from "./dom.js"
import { href } from "./router.js"
import { exactly, shortly, span } from "./times.js"

/** @typedef {import("../src/job.js").Job} Job */

export class JobRow {
  /** @type {Job | null} */
  #job = null
  #link = make("a", { class: "task" })
  #id = make("span", { class: "id" })
  #tags = make("span", { class: "tags" })
  #status = make("span", { class: "state" })
  #bar = make("progress", { max: 100 })
  #percent = make("span", { class: "percent" })
  #message = make("span", { class: "message" })
  #time = make("time", { class: "created" })
  #took = make("span", { class: "took" })
  /** @type {HTMLButtonElement | null} */
  #button

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.#button = app.session.readOnly
      ? null
      : button("", () => this.#job && !isStopping(this.#job) && act(app, possible(this.#job)[0], this.#job), { class: "quiet edged act" })
    const name = make("span", { class: "name" }, this.#link, this.#id, this.#tags)
    const how = make("span", { class: "how" }, this.#bar, this.#percent)
    const times = make("span", { class: "times" }, this.#time, this.#took)
    this.element = make("li", { class: "row" }, this.#status, name, how, this.#message, times, this.#button)
  }

  /** @param {Job} job */
  show(job) {
    const fresh = this.#job?.id !== job.id
    if (fresh) this.#introduce(job)
    const changed = this.#job !== job
    this.#job = job
    if (!job.done) write(this.#took, span(job.started_at ?? job.created_at, Date.now()))
    if (changed) this.#update(job)
  }

  /** @param {Job} job  what never changes of it */
  #introduce({ id, task, tags, created_at: created }) {
    this.element.id = `row-${id}`
    this.#link.textContent = task
    this.#link.href = href("jobs", id)
    this.#id.textContent = `…${id.slice(-8)}`
    this.#id.title = id
    this.#bar.setAttribute("aria-label", `${task}, …${id.slice(-8)}`)
    this.#tags.title = tags.join(", ")
    this.#tags.replaceChildren(...tags.slice(0, 3).map((tag) => make("span", { class: "tag" }, tag)))
    this.#time.dateTime = created ?? ""
    this.#time.title = created ? `Accepted ${exactly(created)}` : ""
    this.#time.textContent = created ? shortly(created) : ""
  }

  /** @param {Job} job */
  #update(job) {
    const view = describe({ job, connection: "live", problem: null })
    this.element.dataset.tone = view.tone
    write(this.#status, view.status)
    this.#status.title = view.status
    write(this.#percent, view.percent || view.count)
    if (view.value === null) this.#bar.removeAttribute("value")
    else this.#bar.value = view.value
    write(this.#message, view.message || view.step)
    this.#message.title = this.#message.textContent ?? ""
    if (job.done) write(this.#took, span(job.started_at, job.finished_at))
    if (!this.#button) return
    const [first] = possible(job)
    write(this.#button, isStopping(job) ? "Stopping" : LABELS[first])
    this.#button.ariaDisabled = String(isStopping(job))
    this.#button.setAttribute("aria-label", `${this.#button.textContent} ${job.task} …${job.id.slice(-8)}`)
  }
}

/** @param {Job} job  which needs not be asked twice */
function isStopping({ cancel_requested: asked, done }) {
  return asked && !done
}
