/** One job: its bar, what it says, what came of it. */

import { number } from "../src/format.js"
import { make } from "./dom.js"
import { Lines } from "./lines.js"

/** @typedef {import("../src/client.js").Client} Client */
/** @typedef {import("../src/element.js").ProgressElement} ProgressElement */
/** @typedef {import("../src/job.js").Job} Job */
/** @typedef {import("../src/watch.js").Update} Update */

/** "Dismiss" comes where "Cancel" was: the second half of a double click on the one is not meant for the other. */
const DOUBLE_CLICK_MS = 500

export class Card {
  #progress = /** @type {ProgressElement} */ (document.createElement("milepost-progress"))
  #outcome = make("div", { class: "outcome", hidden: true })
  #dismiss = make("button", { type: "button", class: "quiet", slot: "actions", hidden: true }, "Dismiss")
  #lines
  #endedAt = -Infinity

  /**
   * @param {Client} client
   * @param {Job} job
   * @param {() => void} dismissed
   */
  constructor(client, job, dismissed) {
    this.client = client
    this.job = job
    this.#lines = new Lines(client, job.id)
    this.#progress.client = client
    this.#progress.value = job
    this.#progress.setAttribute("job", job.id)
    this.#progress.setAttribute("cancel", "")
    this.#progress.append(this.#dismiss)
    this.#dismiss.setAttribute("aria-label", `Dismiss ${job.task}`)
    this.#dismiss.addEventListener("click", () => performance.now() - this.#endedAt > DOUBLE_CLICK_MS && dismissed())
    this.#progress.addEventListener("milepost-update", (event) => this.#update(/** @type {CustomEvent} */ (event).detail))
    this.element = make("li", { class: "card", id: `job-${job.id}` })
    this.element.append(this.#progress, this.#outcome, this.#about(), this.#lines.element)
    if (job.done) this.#end()
  }

  /** @param {Update} update */
  #update({ job, event }) {
    if (event) this.#lines.take(event)
    if (job === null) return
    this.job = job
    if (!job.done) return
    this.#endedAt = performance.now()
    this.#end()
  }

  #end() {
    this.#dismiss.hidden = false
    this.#lines.end()
    const shown = this.#shown()
    this.#outcome.replaceChildren(...shown)
    this.#outcome.hidden = shown.length === 0
  }

  /** @returns {(Node | string)[]} what came of it */
  #shown() {
    const { error, result, result_omitted: omitted, status } = this.job
    if (error && status !== "cancelled") return [explained(this.job)]
    if (omitted) return [make("a", { href: this.client.resultUrl(this.job.id).href }, "Open the result"), " (too large to show here)"]
    if (status !== "succeeded" || result === null) return []
    return [make("span", { class: "hint" }, "Result"), " ", value(result)]
  }

  #about() {
    const { id, created_at: created } = this.job
    const link = make("a", { href: this.client.url(`v1/jobs/${id}`).href, title: id }, make("code", {}, `…${id.slice(-8)}`))
    const time = created ? [make("time", { datetime: created }, moment(created))] : []
    return make("p", { class: "about hint" }, ...time, link)
  }
}

/** @param {Job} job */
function explained({ error, attempt, max_attempts: most }) {
  const { code, type, message } = /** @type {import("../src/job.js").JobError} */ (error)
  const where = most > 1 ? `${code}, attempt ${attempt} of ${most}` : code
  return make("p", { class: "error" }, make("strong", {}, type ?? "Error"), ` ${message} `, make("span", { class: "hint" }, where))
}

/** @param {unknown} result */
function value(result) {
  if (typeof result === "number") return make("code", {}, number(result))
  if (typeof result === "string" && result.length < 80) return make("code", {}, result)
  return make("pre", { tabindex: 0, "aria-label": "Result" }, make("code", {}, JSON.stringify(result, null, 2)))
}

/** @param {string} time */
function moment(time) {
  const date = new Date(time)
  const today = date.toDateString() === new Date().toDateString()
  return today ? date.toLocaleTimeString() : date.toLocaleString()
}
