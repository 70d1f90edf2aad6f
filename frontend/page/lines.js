/** What a job has said: its log lines and partial results, the most recent of them. */

import { Problem } from "../src/http.js"
import { make } from "./dom.js"

/** @typedef {import("../src/client.js").Client} Client */
/** @typedef {import("../src/fold.js").JobEvent} JobEvent */

const KEPT = 200
const SHOWN_CHARACTERS = 300 // of a line; the job's events hold all of it

export class Lines {
  #list = make("ol")
  #summary = make("summary", {}, "Log")
  /** @type {Set<number>} */
  #seen = new Set()
  #asked = false
  #ended = false

  /**
   * @param {Client} client
   * @param {string} id
   */
  constructor(client, id) {
    this.client = client
    this.id = id
    this.#list.tabIndex = 0
    this.#list.setAttribute("aria-label", "Log")
    this.element = make("details", { class: "lines", hidden: true }, this.#summary, this.#list)
    this.element.addEventListener("toggle", () => this.#opened())
  }

  /** @param {JobEvent} event  anything; only what is a line is shown */
  take(event) {
    if (event.type === "snapshot") this.#recall(event.cursor ?? "")
    if (event.type === "log" || event.type === "output") this.#add(event)
  }

  /** Nothing follows. What a job said that had ended before the page came is fetched when somebody opens it. */
  end() {
    this.#ended = true
    this.element.hidden = false
  }

  async #opened() {
    if (!this.element.open || !this.#ended || this.#asked) return
    const { cursor } = await this.#patiently(() => this.client.status(this.id), { cursor: "" })
    await this.#recall(cursor ?? "")
    if (this.#seen.size === 0) this.#list.replaceChildren(make("li", { class: "hint" }, "It said nothing that is still kept."))
  }

  /**
   * Fetch what was said before `cursor`, as far back as is shown.
   * @param {string} cursor  `<epoch>-<seq>`; `seq` is dense
   */
  async #recall(cursor) {
    const [epoch, seq] = cursor.split("-")
    if (this.#asked || !seq) return
    this.#asked = true
    if (Number(seq) <= 1) return
    const after = `${epoch}-${Math.max(0, Number(seq) - KEPT)}`
    const none = { items: /** @type {JobEvent[]} */ ([]) }
    const { items } = (await this.#patiently(() => this.client.events(this.id, { after, limit: KEPT }), none)) ?? none
    for (const event of items) if (event.type !== "snapshot") this.take(event)
  }

  /**
   * The log is an extra: without it the card is still right.
   * @template T
   * @param {() => Promise<T>} ask
   * @param {T} otherwise
   * @returns {Promise<T>}
   */
  async #patiently(ask, otherwise) {
    try {
      return await ask()
    } catch (error) {
      if (error instanceof Problem) return otherwise
      throw error
    }
  }

  /** @param {JobEvent} event */
  #add(event) {
    const seq = event.seq ?? 0
    if (this.#seen.has(seq)) return
    this.#seen.add(seq)
    if (this.element.hidden) this.element.open = true
    this.element.hidden = false
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 8
    const later = [...this.#list.children].find((line) => Number(line.getAttribute("value")) > seq)
    this.#list.insertBefore(line(event), later ?? null)
    if (this.#list.children.length > KEPT) this.#list.firstElementChild?.remove()
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight // but not under the eyes of who has scrolled up
  }
}

/** @param {JobEvent} event */
function line(event) {
  const text = event.type === "log" ? event.message : JSON.stringify(event.data)
  const kind = event.type === "log" ? event.level : "output"
  const cut = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
  const time = event.at ? new Date(event.at).toLocaleTimeString() : ""
  return make(
    "li",
    { value: event.seq, "data-kind": kind },
    make("time", { datetime: event.at }, time),
    make("span", { class: "kind" }, kind),
    make("span", { class: "text" }, cut),
  )
}
