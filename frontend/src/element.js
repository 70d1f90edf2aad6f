/**
 * `<milepost-progress job="...">`: one job, live, drawn. It only draws; the client follows.
 * @module
 */

import { STYLE } from "./element.css.js"
import { put, WatchingElement } from "./element-base.js"
import { Problem } from "./http.js"
import { moved, STILL } from "./motion.js"
import { TICKER } from "./ticker.js"
import { describe } from "./view.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./watch.js").Update} Update */

/** What was "Cancel" a moment ago is "Retry" now: the second half of a double click is not meant for it. */
const DOUBLE_CLICK_MS = 500
/** Who waited for the end shall see it soon. */
const LAST_MS = 250
const MOTIONLESS = globalThis.matchMedia?.("(prefers-reduced-motion)")

const TREE = `:head track facts said
head:label percent cancel=button retry=button actions=slot
track:bar=progress fill
facts:far time words rate
far:status count
words:attempt trouble step message`

/** @type {Update} */
const NOTHING = { job: null, event: null, connection: "connecting", problem: null }

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

  #update = NOTHING
  #progressAt = 0
  #lostAt = 0
  #endedAt = -Infinity
  #motion = STILL
  /** @type {Animation | undefined} */
  #flight
  #complaint = ""
  #busy = false
  #state = ""
  #tick = () => this.draw()

  constructor() {
    super(STYLE, TREE)
    const { bar, label, actions } = this.parts
    put(bar, "max", 100)
    put(bar, "aria-labelledby", "label")
    put(label, "tabindex", -1)
    put(actions, "name", "actions")
    this.#button("cancel", "Cancel", () => this.cancel())
    this.#button("retry", "Retry", () => performance.now() - this.#endedAt > DOUBLE_CLICK_MS && this.retry())
  }

  /**
   * @param {string} name
   * @param {string} text
   * @param {() => void} pressed
   */
  #button(name, text, pressed) {
    const button = this.parts[name]
    button.textContent = text
    button.onclick = pressed
    put(button, "aria-describedby", "label")
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
    if (this.value?.id !== this.wanted) this.#update = NOTHING
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

  /**
   * @param {"cancel" | "retry"} what
   * @param {(id: string) => Promise<unknown>} request
   */
  async #ask(what, request) {
    if (!this.value || this.parts[what].ariaDisabled === "true") return
    this.#busy = true
    this.#complaint = ""
    this.draw()
    try {
      await request(this.value.id)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.#complaint = `Could not ${what}: ${error.message}`
      this.write("said", this.#complaint)
    } finally {
      this.#busy = false
      this.draw()
    }
  }

  /**
   * Show what is known now. An element without `job` is fed so by whoever watches for it.
   * @param {Update} update
   */
  show(update) {
    const { job, connection } = this.#update
    const now = performance.now()
    if (update.job?.progress !== job?.progress) this.#progressAt = now
    if (connection !== "reconnecting") this.#lostAt = now
    const ends = update.job?.done && !job?.done
    if (ends) this.#endedAt = now
    this.#update = update
    this.draw()
    this.tell("update", update)
    if (ends) this.tell("end", update)
  }

  /** @protected */
  draw() {
    const now = performance.now()
    const { job } = this.#update
    const view = describe(this.#update, { age: (now - this.#progressAt) / 1000, lost: (now - this.#lostAt) / 1000 })
    view.trouble ||= this.#complaint
    put(this, "data-tone", view.tone)
    this.write("label", this.getAttribute("label") ?? job?.task ?? "Job")
    for (const [name, text] of Object.entries(view)) this.write(name, String(text))
    this.parts.message.title = view.message
    this.#move(view, now)
    this.#offer("cancel", !!job && !job.done, job?.cancel_requested)
    this.#offer("retry", !!job?.done && job.status !== "succeeded")
    this.#announce(view)
    TICKER.set(this.#tick, this.isConnected && !job?.done)
  }

  /**
   * @param {View} view
   * @param {number} now
   */
  #move({ value, valueText }, now) {
    const { bar, fill } = this.parts
    put(bar, "value", value)
    put(bar, "aria-valuetext", valueText || null)
    const motion = moved(this.#motion, value, now, MOTIONLESS?.matches ? 0 : this.value?.done ? LAST_MS : undefined)
    if (motion === this.#motion) return
    this.#motion = motion
    this.#flight?.cancel() // else one that goes on would show more than is true after a step back
    fill.style.translate = place(motion.to)
    if (motion.ms) this.#flight = fill.animate({ translate: [place(motion.from), place(motion.to)] }, motion.ms)
  }

  /**
   * @param {"cancel" | "retry"} name
   * @param {boolean} possible
   * @param {boolean} [asked]
   */
  #offer(name, possible, asked = false) {
    const button = this.parts[name]
    const focused = this.shadowRoot?.activeElement === button
    button.hidden = !possible || !this.hasAttribute(name)
    // Not `disabled`, which would throw the focus away.
    put(button, "aria-disabled", `${this.#busy || asked}`)
    if (focused && button.hidden) this.#handOn()
  }

  /** The button goes away with the focus on it: on to the next action, or who uses a keyboard starts from the top. */
  #handOn() {
    const action = /** @type {HTMLElement | null} */ (this.querySelector("[slot=actions]:not([hidden])"))
    ;(action ?? this.parts.label).focus()
  }

  /**
   * Readers of a screen hear of changes of state, not of every percent, and not of what was so when the page came.
   * @param {View} view
   */
  #announce({ state, attempt }) {
    if (!this.value) return
    const told = attempt ? `${state}, ${attempt}` : state
    if (this.#state && this.#state !== told && !this.hasAttribute("quiet")) {
      this.write("said", `${this.parts.label.textContent}: ${told}`)
    }
    this.#state = told
  }
}

/** @param {number | null} percent */
function place(percent) {
  return percent === null ? "" : `calc(var(--way)*${100 - percent}%)`
}
