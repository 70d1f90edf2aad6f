/**
 * Server-sent events, WHATWG HTML §9.2, decoded without a socket: chunks in, frames out. For `fetch` streams
 * and servers; a page's own EventSource does the same.
 * @module
 */

/**
 * One dispatched event. `id` is the last event id as of this frame, "" if none was ever sent.
 * @typedef {{event: string, data: string, id: string}} Frame
 */

/**
 * Feed it bytes or text, get the frames they complete. An unfinished block at the end is not an event (§9.2.6).
 *
 * After a frame or not, `lastEventId` is what a reconnect must send, and `retryMs` the wait that the server asked
 * for, null if it did not.
 */
export class SseDecoder {
  lastEventId = ""
  /** @type {number | null} */
  retryMs = null

  #utf8 = new TextDecoder("utf-8", { ignoreBOM: true }) // it may arrive in pieces: taken away below, once
  #begun = false
  #afterCr = false
  /** @type {string[]} joined once per line: a long line stays linear */
  #partial = []
  #event = ""
  /** @type {string[]} */
  #data = []
  #id = ""

  /**
   * @param {Uint8Array | string} chunk
   * @returns {Frame[]}
   */
  feed(chunk) {
    let text = typeof chunk === "string" ? chunk : this.#utf8.decode(chunk, { stream: true })
    if (!text) return []
    if (!this.#begun) text = text.replace(/^\ufeff/, "")
    this.#begun = true
    if (this.#afterCr) text = text.replace(/^\n/, "") // the second half of a line's end
    this.#afterCr = /\r$/.test(text)
    const lines = text.split(/\r\n?|\n/)
    this.#partial.push(lines[0])
    if (lines.length > 1) {
      lines[0] = this.#partial.join("")
      this.#partial = [/** @type {string} */ (lines.pop())]
      return lines.flatMap((line) => this.#line(line) ?? [])
    }
    return []
  }

  /**
   * @param {string} line
   * @returns {Frame | undefined}
   */
  #line(line) {
    if (!line) return this.#dispatch()
    const [, name, value = ""] = /** @type {string[]} */ (/^([^:]*)(?:: ?([^]*))?$/.exec(line))
    if (name === "event") this.#event = value
    if (name === "data") this.#data.push(value)
    if (name === "id" && !value.includes("\0")) this.#id = value
    // Nine digits are eleven days: more is no time to wait. Comments (an empty name) and unknown fields are ignored.
    if (name === "retry" && /^\d{1,9}$/.test(value)) this.retryMs = +value
    return undefined
  }

  /** @returns {Frame | undefined} */
  #dispatch() {
    const [event, data, id] = [this.#event || "message", this.#data, this.#id]
    this.lastEventId = id
    this.#event = ""
    this.#data = []
    return data.length ? { event, data: data.join("\n"), id } : undefined
  }
}
