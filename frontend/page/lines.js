/** A list of events that grows at its end and keeps the reader's eye where it is: log, outputs, raw events. */

import { make } from "./dom.js"
import { exactly } from "./times.js"

/** @typedef {import("../src/fold.js").JobEvent} JobEvent */

const KEPT = 300
const SHOWN_CHARACTERS = 600 // of a line; the job's events hold all of it
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" })

export class Lines {
  /** @type {Map<number, HTMLElement>} by seq */
  #lines = new Map()

  /**
   * @param {string} label
   * @param {(event: JobEvent) => {kind: string, text: string}} read
   * @param {string} [type]  of the events that are of this list; all are without
   */
  constructor(label, read, type) {
    this.read = read
    this.type = type
    this.element = make("ol", { class: "lines", tabindex: 0, "aria-label": label })
  }

  get size() {
    return this.#lines.size
  }

  /** @param {JobEvent[]} events  all there are by now, in order */
  show(events) {
    const { element } = this
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 8
    const own = this.type ? events.filter(({ type }) => type === this.type) : events
    for (const event of own.slice(-KEPT)) if (!this.#lines.has(event.seq ?? 0)) this.#add(event, this.read(event))
    while (this.#lines.size > KEPT) this.#drop()
    if (atEnd) element.scrollTop = element.scrollHeight // but not under the eyes of who has scrolled up
  }

  /**
   * @param {JobEvent} event
   * @param {{kind: string, text: string}} said
   */
  #add(event, { kind, text }) {
    const seq = event.seq ?? 0
    const cut = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text
    const at = event.at ?? ""
    const time = make("time", { datetime: at, title: at && exactly(at) }, at && CLOCK.format(new Date(at)))
    const line = make("li", { value: seq, "data-kind": kind }, time, make("span", { class: "kind" }, kind), make("span", { class: "text" }, cut))
    const later = [...this.#lines].find(([other]) => other > seq)?.[1]
    this.#lines.set(seq, line)
    if (later) this.#lines = new Map([...this.#lines].sort(([one], [other]) => one - other))
    this.element.insertBefore(line, later ?? null)
  }

  #drop() {
    const [[seq, line]] = this.#lines
    line.remove()
    this.#lines.delete(seq)
  }
}

/** @param {JobEvent} event */
export function logLine(event) {
  return { kind: event.level, text: event.message }
}

/** @param {JobEvent} event */
export function outputLine(event) {
  return { kind: `#${event.index}`, text: JSON.stringify(event.data) }
}

/** @param {JobEvent} event */
export function rawLine(event) {
  return { kind: event.type, text: JSON.stringify(event) }
}
