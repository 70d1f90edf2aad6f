/** One job: its bar, what it was asked to do, what it says, what came of it. */

import { Problem } from "../src/http.js"
import { actionButton } from "./actions.js"
import { followCommand } from "./curl.js"
import { make, write } from "./dom.js"
import { facts, json, outcome, steps } from "./facts.js"
import { History } from "./history.js"
import { Lines, logLine, outputLine, rawLine } from "./lines.js"
import { href } from "./router.js"
import { timeline } from "./timeline.js"

/** @typedef {import("./app.js").App} App */
/** @typedef {import("../src/job.js").Job} Job */
/** @typedef {import("../src/watch.js").Update} Update */
/** @typedef {import("./ask.js").Details} Details */

const DRAW_MS = 100
const TICK_MS = 1000

export class JobView {
  title = "Job"
  /** @type {Job | null} */
  #job = null
  /** @type {Details | null} */
  #details = null
  #detailed = false
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  #closed = false
  /** @type {Map<HTMLElement, string>} */
  #shown = new Map()
  #heading = make("h1", { tabindex: -1 }, "Job")
  #outcome = make("div", { class: "outcome" })
  #steps = make("ol", { class: "steps", "aria-label": "Steps" })
  #facts = make("dl", { class: "facts" })
  #timeline = make("div", { class: "timeline" })
  #log = new Lines("Log", logLine, "log")
  #outputs = new Lines("Outputs", outputLine, "output")
  #raw = new Lines("Raw events", rawLine)
  #params = make("div")
  #traceback = make("div")

  /**
   * @param {App} app
   * @param {import("./router.js").Route} route
   */
  constructor(app, { id }) {
    this.app = app
    this.id = id
    this.history = new History(app, id)
    this.progress = /** @type {import("../src/element.js").ProgressElement} */ (document.createElement("milepost-progress"))
    this.progress.client = app.client
    this.progress.addEventListener("milepost-update", (event) => this.#take(/** @type {CustomEvent<Update>} */ (event).detail))
    this.progress.setAttribute("job", id)
    this.parts = this.#assemble()
    this.ticking = setInterval(() => document.hidden || this.#job?.done || this.#tell(), TICK_MS)
    this.element = make("section", { class: "job", id: `job-${id}` }, ...this.parts.all)
  }

  async show() {}

  close() {
    this.#closed = true
    clearTimeout(this.#timer)
    clearInterval(this.ticking)
    this.progress.remove()
  }

  #assemble() {
    const job = () => this.#job
    const away = () => this.app.go("#/jobs")
    const readOnly = this.app.session.readOnly
    const cancel = actionButton(this.app, "cancel", job)
    const retry = actionButton(this.app, "retry", job, (done) => done !== true && this.app.go(href("jobs", done.id)))
    const change = make("a", { href: href("new", "", { from: this.id }), class: "quiet edged button" }, "Change and run")
    const remove = actionButton(this.app, "delete", job, away)
    const buttons = readOnly ? [] : [cancel, retry, change, remove]
    const crumbs = make("nav", { class: "crumbs", "aria-label": "Where you are" }, make("a", { href: "#/jobs" }, "Jobs"), " / ")
    const head = make("div", { class: "head" }, make("div", {}, crumbs, this.#heading), make("div", { class: "buttons" }, ...buttons))
    const panel = make("div", { class: "panel bar" }, this.progress, this.#steps, this.#outcome)
    const story = {
      log: section("Log", this.#log.element, "Nothing was logged."),
      outputs: section("Outputs", this.#outputs.element),
      traceback: section("Traceback", this.#traceback),
      params: section("Params", this.#params),
      timeline: section("Timeline", this.#timeline),
      raw: make("details", { class: "panel raw" }, make("summary", {}, "Raw events"), this.#raw.element),
    }
    story.raw.addEventListener("toggle", () => this.#draw())
    const follow = make("pre", { tabindex: 0, "aria-label": "Command" }, make("code", {}, followCommand(this.app.client.streamUrl(this.id))))
    const side = make("aside", { "aria-label": "About the job" }, section("About", this.#facts), section("Follow from a terminal", follow), story.params)
    const main = make("div", { class: "column" }, panel, story.traceback, story.timeline, story.log, story.outputs, story.raw)
    for (const one of [story.outputs, story.traceback, story.params]) one.hidden = true
    return { ...story, cancel, retry, change, remove, all: [head, make("div", { class: "columns" }, main, side)] }
  }

  /** @param {Update} update */
  #take({ job, event, connection, problem }) {
    if (connection === "refused") return this.#refuse(problem ?? "")
    if (event) this.history.take(event)
    if (event?.type === "snapshot" || job?.done) this.#recall(event?.cursor ?? "")
    if (job === null) return
    const ended = job.done && !this.#job?.done
    this.#job = job
    if (!this.#detailed || ended) this.#detail()
    this.#timer ??= setTimeout(() => this.#draw(), DRAW_MS)
  }

  /** @param {string} cursor */
  async #recall(cursor) {
    await this.history.recall(cursor)
    this.#draw()
  }

  async #detail() {
    this.#detailed = true
    if (this.app.session.readOnly) return
    try {
      this.#details = await this.app.ask.details(this.id)
      this.#draw()
    } catch (error) {
      if (!(error instanceof Problem)) throw error // an extra, too: the job is there without
    }
  }

  /** @param {string} why */
  #refuse(why) {
    write(this.#heading, "This job is not here")
    this.element.dataset.missing = "true"
    this.progress.hidden = true // it says the same, and has nothing to show
    this.#outcome.replaceChildren(make("p", {}, why), make("p", {}, make("a", { href: "#/jobs" }, "All jobs")))
    for (const one of Object.values(this.parts)) if (one instanceof HTMLElement) one.hidden = true
  }

  #draw() {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const job = this.#job
    if (job === null || this.#closed) return // the title is that of another view by then
    this.element.dataset.ready = "true"
    if (this.#heading.textContent !== job.task) this.app.entitle(job.task)
    write(this.#heading, job.task)
    // Drawn again only where it has changed: the focus may be in there, or a selection, and what was fetched.
    this.#renew(this.#steps, job.progress.steps, () => steps(job))
    this.progress.toggleAttribute("data-waiting", job.waiting !== null)
    const { progress: _, version: __, heartbeat_at: ___, ...rest } = job
    this.#renew(this.#outcome, [rest], () => outcome(job, this.#resultUrl, () => this.#whole()))
    this.#renew(this.#facts, [rest, this.#details], () => facts(job, this.#details))
    this.#tell()
    this.#say(job)
    this.#ask()
  }

  /** The story, up to this second: also of a job that waits and says nothing. */
  #tell() {
    const job = this.#job
    if (job === null) return
    const { story } = this.history
    const { progress: _, version: __, heartbeat_at: ___, ...rest } = job
    const second = job.done ? 0 : Math.floor(Date.now() / TICK_MS)
    this.#renew(this.#timeline, [story.length, rest, second], () => timeline(story, job))
  }

  /** A link carries no key: where one is wanted, it would lead to a refusal. */
  get #resultUrl() {
    return this.app.session.credential ? null : this.app.client.resultUrl(this.id)
  }

  /**
   * @param {HTMLElement} place
   * @param {unknown} of  what it shows
   * @param {() => import("./dom.js").Child[]} shown
   */
  #renew(place, of, shown) {
    const key = JSON.stringify(of)
    if (this.#shown.get(place) === key) return
    this.#shown.set(place, key)
    place.replaceChildren(...shown().flatMap((one) => one || []))
  }

  /** @param {Job} job */
  #say(job) {
    const { events } = this.history
    this.#log.show(events)
    this.#outputs.show(events)
    if (this.parts.raw.open) this.#raw.show(events)
    this.parts.outputs.hidden = this.#outputs.size === 0
    const empty = this.parts.log.querySelector(".hint")
    if (empty) write(empty, this.#log.size ? "" : this.history.missing || silence(job, this.history))
    this.#log.element.hidden = this.#log.size === 0
    const { cancel, retry, change, remove } = this.parts
    const focused = document.activeElement === cancel
    cancel.hidden = job.done
    retry.hidden = change.hidden = remove.hidden = !job.done
    cancel.setAttribute("aria-disabled", String(job.cancel_requested))
    if (focused && job.done) retry.focus() // the button went away with the focus on it
  }

  /** What operators alone may see. */
  #ask() {
    const { params = null, traceback = null } = this.#details ?? {}
    this.parts.params.hidden = params === null
    this.parts.traceback.hidden = traceback === null
    if (params && !this.#params.hasChildNodes()) this.#params.append(json("Params", params))
    if (traceback && !this.#traceback.hasChildNodes()) this.#traceback.append(make("pre", { tabindex: 0, "aria-label": "Traceback" }, make("code", {}, traceback)))
  }

  async #whole() {
    try {
      this.#outcome.replaceChildren(json("Result", await this.app.client.result(this.id)))
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error, "Show the result: ")
    }
  }
}

/**
 * @param {Job} job
 * @param {History} history
 */
function silence({ done }, { isTail }) {
  if (isTail) return "Nothing among the last few hundred events."
  return done ? "It said nothing that is still kept." : "Nothing so far."
}

/**
 * @param {string} title
 * @param {HTMLElement} content
 * @param {string} [hint]
 */
function section(title, content, hint) {
  const id = `part-${title.toLowerCase().replaceAll(" ", "-")}`
  return make("section", { class: "panel", "aria-labelledby": id }, make("h2", { id }, title), content, hint && make("p", { class: "hint" }, hint))
}
