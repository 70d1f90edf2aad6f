/**
 * `<milepost-progress job="…">`: one job, live, drawn. It only draws; the client follows.
 * @module
 */

import { sharedClient } from "./client.js"
import { STYLE } from "./element.css.js"
import { Problem } from "./http.js"
import { Ticker } from "./ticker.js"
import { trusted } from "./trusted.js"
import { describe } from "./view.js"

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./watch.js").Update} Update */

const SKELETON = `
  <div class="row head" part="head">
    <span class="label" part="label" id="label"></span>
    <span class="status" part="status"></span>
    <span class="attempt" part="attempt"></span>
    <button type="button" part="cancel" hidden>Cancel</button>
    <slot name="actions"></slot>
  </div>
  <progress part="bar" max="100" aria-labelledby="label"></progress>
  <div class="row facts" part="facts">
    <span class="percent" part="percent"></span>
    <span class="count" part="count"></span>
    <span class="trouble" part="trouble"></span>
    <span class="step" part="step"></span>
    <span class="message" part="message"></span>
    <span class="break"></span>
    <span class="pace">
      <span class="rate" part="rate"></span>
      <span part="time-left"></span>
    </span>
  </div>
  <div class="announcement" part="announcement" role="status"></div>
`

const SHOWN = /** @type {const} */ (["status", "attempt", "percent", "count", "step", "message", "rate", "time-left"])
const TICKER = new Ticker()
/** @type {CSSStyleSheet | undefined} */
let sheet


// In Node there is no HTMLElement: importing this file must not fail there (server-side rendering, tests).
const Base = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (class {})

/**
 * Shows a job and follows it to its end. Without JavaScript the text in the tag stays.
 *
 * Attributes: `job` (the id), `src` (where the API is, if not where the page is), `label` (instead of the task's
 * name), `cancel` (offer a button). Events: `milepost-update` for every change, `milepost-end` once, after the end;
 * `detail` is `{job, event, connection, problem}`. Custom properties: `--milepost-accent`, `-good`, `-warning`, `-bad`,
 * `-muted`, `-ink`, `-line`, `-track`, `-bar-height`. Parts: see the skeleton above. Slot: `actions`.
 */
export class ProgressElement extends Base {
  static observedAttributes = ["job", "src", "label", "cancel"]

  /** @type {Client | null} set it to share one, or to give it what attributes cannot say */
  client = null

  /** @type {AbortController | null} */
  #watching = null
  /** @type {Update} */
  #update = { job: null, event: null, connection: "connecting", problem: null }
  #progressAt = 0
  #lostAt = 0
  #complaint = ""
  #cancelling = false
  /** @type {string | null} */
  #state = null
  #tick = () => this.#draw()
  /** @type {HTMLProgressElement} */
  #bar
  /** @type {HTMLButtonElement} */
  #button
  /** @type {Record<string, HTMLElement>} */
  #parts = {}

  constructor() {
    super()
    const root = this.attachShadow({ mode: "open" })
    root.adoptedStyleSheets = [styleSheet()]
    root.innerHTML = trusted(SKELETON)
    this.#bar = /** @type {HTMLProgressElement} */ (root.querySelector("progress"))
    this.#button = /** @type {HTMLButtonElement} */ (root.querySelector("button"))
    for (const part of ["label", "trouble", "announcement", ...SHOWN]) {
      this.#parts[part] = /** @type {HTMLElement} */ (root.querySelector(`[part="${part}"]`))
    }
    this.#button.addEventListener("click", () => this.cancel())
  }

  /** The job as far as it is known. Setting it shows it at once, before the first word from the server. */
  get value() {
    return this.#update.job
  }

  /** @param {Job | null} job */
  set value(job) {
    this.#update = { ...this.#update, job, event: null }
    this.#draw()
  }

  connectedCallback() {
    this.#draw()
    this.#follow()
  }

  disconnectedCallback() {
    this.#stop()
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(name, before, after) {
    if (!this.isConnected || before === after) return
    if (name === "job" || name === "src") this.#restart()
    this.#draw()
  }

  /** Ask for the job to be cancelled; what comes of it is seen in the job. */
  async cancel() {
    if (this.#button.ariaDisabled === "true") return
    this.#cancelling = true
    this.#draw()
    try {
      await this.#client().cancel(this.getAttribute("job") ?? "")
      this.#complaint = ""
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.#complaint = `Not cancelled: ${error.message}`
    } finally {
      this.#cancelling = false
    }
    this.#draw()
  }

  #client() {
    this.client ??= sharedClient(this.getAttribute("src") ?? undefined)
    return this.client
  }

  #restart() {
    this.#stop()
    this.#update = { job: null, event: null, connection: "connecting", problem: null }
    this.#follow()
  }

  #stop() {
    this.#watching?.abort()
    TICKER.remove(this.#tick)
  }

  async #follow() {
    const job = this.getAttribute("job")
    if (!job || this.value?.done) return
    this.#watching = new AbortController()
    const { signal } = this.#watching
    TICKER.add(this.#tick)
    try {
      for await (const update of this.#client().watch(job, { signal })) this.#show(update)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.#show({ ...this.#update, event: null, connection: "refused", problem: error.message })
    }
    if (!signal.aborted) TICKER.remove(this.#tick)
  }

  /** @param {Update} update */
  #show(update) {
    if (update.job?.progress !== this.#update.job?.progress) this.#progressAt = performance.now()
    if (this.#update.connection !== "reconnecting") this.#lostAt = performance.now()
    this.#update = update
    const focused = this.shadowRoot?.activeElement === this.#button
    this.#draw()
    this.dispatchEvent(new CustomEvent("milepost-update", { detail: update, bubbles: true }))
    if (update.job?.done) this.dispatchEvent(new CustomEvent("milepost-end", { detail: update, bubbles: true }))
    if (focused && this.#button.hidden) this.#handOn()
  }

  /** The button goes away with the focus on it: on to the next action, or who uses a keyboard starts from the top. */
  #handOn() {
    const actions = /** @type {HTMLElement[]} */ (this.shadowRoot?.querySelector("slot")?.assignedElements() ?? [])
    actions.find((action) => !action.hidden)?.focus()
  }

  #draw() {
    const now = performance.now()
    const view = describe(this.#update, {
      age: (now - this.#progressAt) / 1000,
      lost: (now - this.#lostAt) / 1000,
    })
    const { job } = this.#update
    this.dataset.tone = view.tone
    this.toggleAttribute("data-waiting", Boolean(job?.waiting))
    this.#text("label", this.getAttribute("label") ?? job?.task ?? "Job")
    for (const part of SHOWN) this.#text(part, part === "time-left" ? view.timeLeft : view[part])
    this.#text("trouble", view.trouble || this.#complaint)
    this.#parts.message.title = view.message
    if (view.value === null) this.#bar.removeAttribute("value")
    else this.#bar.value = view.value
    this.#button.hidden = !this.hasAttribute("cancel") || job === null || job.done
    // Not `disabled`, which would throw the focus away, nor hidden, which would also move its neighbours.
    this.#button.setAttribute("aria-disabled", String(this.#cancelling || (job?.cancel_requested ?? false)))
    this.#announce(view)
  }

  /**
   * Readers of a screen hear of changes of state, not of every percent, and not of what was so when the page came.
   * @param {View} view
   */
  #announce(view) {
    if (this.#update.job === null) return
    if (this.#state !== null && this.#state !== view.state) {
      this.#text("announcement", `${this.#parts.label.textContent}: ${view.state}`)
    }
    this.#state = view.state
  }

  /**
   * @param {string} part
   * @param {string} text
   */
  #text(part, text) {
    // Only what differs: writing the same text anew would be announced again, and drawn again.
    if (this.#parts[part].textContent !== text) this.#parts[part].textContent = text
  }
}

/** One sheet for all elements. */
function styleSheet() {
  if (!sheet) {
    sheet = new CSSStyleSheet()
    sheet.replaceSync(STYLE)
  }
  return sheet
}
