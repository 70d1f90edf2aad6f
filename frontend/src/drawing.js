/**
 * What a bar shows of its job: words and numbers, the bar on its way, buttons. Loaded side by side with
 * what follows jobs: until that is there, there is nothing to draw but that it connects.
 * @module
 */

import { CONNECTING } from "./client.js"
import { Problem } from "./http.js"
import { moved, STILL } from "./motion.js"
import { TICKER } from "./ticker.js"
import { describe } from "./view.js"

/** @typedef {import("./element.js").ProgressElement} ProgressElement */
/** @typedef {import("./view.js").View} View */
/** @typedef {import("./watch.js").Update} Update */

/** What was "Cancel" a moment ago is "Retry" now: the second half of a double click is not meant for it. */
const DOUBLE_CLICK_MS = 500
/** Who waited for the end shall see it soon. */
const LAST_MS = 250
const MOTIONLESS = globalThis.matchMedia?.("(prefers-reduced-motion)")

/** Of one element, for as long as that lives. */
export class Drawing {
  #bar
  #update = CONNECTING
  #progressAt = 0
  #lostAt = 0
  #endedAt = -Infinity
  #motion = STILL
  /** @type {Animation | undefined} */
  #flight
  #complaint = ""
  #busy = false
  #state = ""
  #tick = () => this.#bar.draw()

  /** @param {ProgressElement} bar */
  constructor(bar) {
    this.#bar = bar
    const { cancel, retry } = bar.parts
    bar.write("cancel", "Cancel")
    bar.write("retry", "Retry")
    cancel.onclick = () => bar.cancel()
    retry.onclick = () => performance.now() - this.#endedAt > DOUBLE_CLICK_MS && bar.retry()
    bar.put("bar", "max", 100)
    bar.put("label", "tabindex", -1)
    for (const name of ["cancel", "retry"]) bar.put(name, "aria-describedby", "label")
  }

  /** @param {Update} update */
  draw(update) {
    const bar = this.#bar
    const now = performance.now()
    const { job, connection } = update
    const before = this.#update
    this.#update = update
    if (job?.status !== before.job?.status) this.#complaint = "" // it was about what is over
    if (job?.progress !== before.job?.progress) this.#progressAt = now
    if ([before, update].some((one) => one.connection !== "reconnecting")) this.#lostAt = now
    if (job?.done && before.job?.done === false) this.#endedAt = now
    const view = describe(update, { age: (now - this.#progressAt) / 1000, lost: (now - this.#lostAt) / 1000 })
    view.trouble ||= this.#complaint
    bar.put("", "data-tone", view.tone)
    for (const [name, text] of Object.entries(view)) bar.write(name, String(text))
    bar.parts.message.title = view.message
    this.#move(view, now)
    this.#offer("cancel", !!job && !job.done, job?.cancel_requested)
    this.#offer("retry", !!job?.done && job.status !== "succeeded")
    this.#announce(view)
    TICKER.set(this.#tick, bar.isConnected && !job?.done && connection !== "refused")
  }

  /**
   * @param {View} view
   * @param {number} now
   */
  #move({ value, valueText }, now) {
    const { fill } = this.#bar.parts
    this.#bar.put("bar", "value", value)
    this.#bar.put("bar", "aria-valuetext", valueText || null)
    const motion = moved(this.#motion, value, now, MOTIONLESS?.matches ? 0 : this.#update.job?.done ? LAST_MS : undefined)
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
    const bar = this.#bar
    const button = bar.parts[name]
    const focused = bar.shadowRoot?.activeElement === button
    button.hidden = !possible || !bar.hasAttribute(name)
    // Not `disabled`, which would throw the focus away.
    bar.put(name, "aria-disabled", `${this.#busy || asked}`)
    if (focused && button.hidden) this.#handOn()
  }

  /** The button goes away with the focus on it: on to the next action, or who uses a keyboard starts from the top. */
  #handOn() {
    const action = /** @type {HTMLElement | null} */ (this.#bar.querySelector("[slot=actions]:not([hidden])"))
    ;(action ?? this.#bar.parts.label).focus()
  }

  /**
   * Readers of a screen hear of changes of state, not of every percent, and not of what was so when the page came.
   * @param {View} view
   */
  #announce({ state, attempt }) {
    const told = !this.#update.job ? "" : attempt ? `${state}, ${attempt}` : state
    if (told && this.#state && this.#state !== told && !this.#bar.hasAttribute("quiet")) {
      this.#bar.write("said", `${this.#bar.parts.label.textContent}: ${told}`)
    }
    this.#state = told
  }

  /**
   * Ask for something, once at a time; a refusal is told where trouble is.
   * @param {"cancel" | "retry"} what
   * @param {(id: string) => Promise<unknown>} request
   */
  async ask(what, request) {
    const bar = this.#bar
    if (!bar.value || bar.parts[what].ariaDisabled === "true") return
    this.#busy = true
    this.#complaint = ""
    bar.draw()
    try {
      await request(bar.value.id)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.#complaint = `Could not ${what}: ${error.message}`
      bar.write("said", this.#complaint)
    } finally {
      this.#busy = false
      bar.draw()
    }
  }
}

/** @param {number | null} percent */
function place(percent) {
  return percent === null ? "" : `calc(var(--way)*${100 - percent}%)`
}
