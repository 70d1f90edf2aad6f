/**
 * `<milepost-progress job="...">`: one job, live, drawn. It only draws; the client follows.
 * @module
 */

import { CONNECTING } from "./client.js"
import { STYLE } from "./element.css.js"
import { WatchingElement } from "./element-base.js"
import { load } from "./late.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./watch.js").Update} Update */

const TREE = `:head track facts said
head:label percent cancel=button retry=button actions=slot
track:bar=progress fill
facts:far time words rate
far:status count
words:attempt trouble step message`

/** What draws them all, asked for at once. @type {typeof import("./drawing.js").Drawing | undefined} */
let Drawing
/** Those who wait for it. @type {Set<ProgressElement>} */
const waiting = new Set()
/** Why it is not there. */
let missing = ""
const drawAll = () => waiting.forEach((bar) => bar.draw())
const loading = load(() => import("./drawing.js"), (problem) => ((missing = problem), drawAll())).then((module) => {
  Drawing = module.Drawing
  drawAll()
  waiting.clear()
})

/**
 * Shows a job and follows it to its end. Without JavaScript what is in the tag stays.
 *
 * Attributes: `job` (the id), `src` (where the API is, if not where the page is), `token`, `label` (instead of the
 * task's name), `cancel` and `retry` (offer a button), `quiet` (say nothing to readers of a screen). Properties: `client`,
 * `value`. Events: `milepost-update` for every change, `milepost-end` once, `detail` is `{job, event, connection,
 * problem}`; `milepost-retry` with the new job, which is followed unless the page prevents it. Custom properties:
 * `--milepost-accent`, `-good`, `-warning`, `-bad`, `-muted`, `-track`, `-bar-height`. Parts: all in TREE. Slot: `actions`.
 */
export class ProgressElement extends WatchingElement {
  static observedAttributes = ["job", "src", "token", "label", "cancel", "retry"]

  #update = CONNECTING
  /** @type {import("./drawing.js").Drawing | undefined} */
  #drawing

  constructor() {
    super(STYLE, TREE)
    this.put("bar", "aria-labelledby", "label")
    this.put("actions", "name", "actions")
    if (!Drawing) waiting.add(this)
  }

  /** The job as far as it is known. Setting it shows it at once, before the first word from the server. */
  get value() {
    return this.#update.job
  }

  set value(job) {
    this.#update = { ...this.#update, job, event: null }
    this.draw()
  }

  /** @protected */
  get wanted() {
    return this.getAttribute("job") ?? ""
  }

  /**
   * @protected
   * @param {Milepost} client
   */
  open(client) {
    if (this.value?.id !== this.wanted) this.#update = CONNECTING
    return this.value?.done ? null : client.watch(this.wanted)
  }

  /** Ask for the job to be cancelled; what comes of it is seen in the job. */
  cancel() {
    return this.#ask("cancel", (id) => this.client.cancel(id))
  }

  /** Have the job done again, as a new one, and follow that. */
  retry() {
    return this.#ask("retry", async (id) => {
      const job = await this.client.retry(id)
      if (!this.tell("retry", { job, retry_of: id }, true)) return
      this.value = job
      this.setAttribute("job", job.id)
    })
  }

  /** @param {Parameters<import("./drawing.js").Drawing["ask"]>} given */
  async #ask(...given) {
    if (!Drawing) await loading
    await this.#drawn?.ask(...given)
  }

  get #drawn() {
    if (Drawing) this.#drawing ??= new Drawing(this)
    return this.#drawing
  }

  /**
   * Show what is known now. An element without `job` is fed so by whoever watches for it.
   * @param {Update} update
   */
  show(update) {
    const ends = update.job?.done && !this.value?.done
    this.#update = { ...update, job: update.job ?? this.value } // a page may know its job before the first word
    this.draw()
    this.tell("update", update)
    if (ends) this.tell("end", update)
  }

  /** What is known, as well as it can be drawn by now. */
  draw() {
    const { job, problem } = this.#update
    this.write("label", this.getAttribute("label") ?? job?.task ?? "Job")
    if (this.#drawn) return this.#drawn.draw(this.#update)
    this.write("status", job ? "" : "Connecting")
    this.write("trouble", problem ?? missing)
  }
}
