/**
 * Server-sent events, WHATWG HTML §9.2, decoded without a socket: chunks in, frames out. For `fetch` streams
 * and servers; a page's own EventSource does the same.
 * @module
 */

/**
 * One dispatched event. `id` is the last event id as of this frame, "" if none was ever sent.
 * @typedef {{event: string, data: string, id: string}} Frame
 */

/** Cut text into lines at CR, LF or CRLF, wherever the chunks fall. */
class Lines {
  /** @type {string[]} joined once per line: a long line stays linear */
  #partial = []
  #afterCr = false

  /**
   * @param {string} chunk
   * @returns {string[]}
   */
  feed(chunk) {
    if (!chunk) return []
    if (this.#afterCr && chunk.startsWith("\n")) chunk = chunk.slice(1)
    this.#afterCr = chunk.endsWith("\r")
    const lines = chunk.split(/\r\n|\r|\n/)
    const rest = /** @type {string} */ (lines.pop())
    if (lines.length) {
      lines[0] = this.#partial.join("") + lines[0]
      this.#partial = []
    }
    if (rest) this.#partial.push(rest)
    return lines
  }
}

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

  #utf8 = new TextDecoder("utf-8") // drops one byte order mark by itself
  #lines = new Lines()
  #atStart = true
  #event = ""
  /** @type {string[]} */
  #data = []
  #id = ""

  /**
   * @param {Uint8Array | string} chunk
   * @returns {Frame[]}
   */
  feed(chunk) {
    return this.#lines.feed(this.#text(chunk)).flatMap((line) => this.#line(line) ?? [])
  }

  /**
   * @param {Uint8Array | string} chunk
   * @returns {string}
   */
  #text(chunk) {
    if (typeof chunk !== "string") return this.#utf8.decode(chunk, { stream: true })
    if (this.#atStart && chunk) {
      this.#atStart = false
      return chunk.startsWith("\ufeff") ? chunk.slice(1) : chunk
    }
    return chunk
  }

  /**
   * @param {string} line
   * @returns {Frame | null}
   */
  #line(line) {
    if (!line) return this.#dispatch()
    const colon = line.indexOf(":")
    const name = colon < 0 ? line : line.slice(0, colon)
    let value = colon < 0 ? "" : line.slice(colon + 1)
    if (value.startsWith(" ")) value = value.slice(1)
    this.#field(name, value)
    return null
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #field(name, value) {
    if (name === "event") this.#event = value
    else if (name === "data") this.#data.push(value)
    else if (name === "id" && !value.includes("\0")) this.#id = value
    else if (name === "retry" && /^[0-9]{1,9}$/.test(value)) this.retryMs = Number(value)
    // nine digits are eleven days: more is no time to wait. Comments (an empty name) and unknown fields are ignored
  }

  /** @returns {Frame | null} */
  #dispatch() {
    this.lastEventId = this.#id
    const frame = { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id }
    const filled = this.#data.length > 0
    this.#event = ""
    this.#data = []
    return filled ? frame : null
  }
}
