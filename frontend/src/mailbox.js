/**
 * What has arrived and was not taken yet, as an async iterator for one reader.
 * @module
 */

/** @typedef {import("./stream.js").Signal} Signal */

/** A reader that is so far behind reconnects later: the server keeps the history, this page need not. */
const LIMIT = 1000

export class Mailbox {
  /** @type {Signal[]} */
  #items = []
  /** @type {Error | null} */
  #error = null
  #closed = false
  /** @type {(() => void) | null} */
  #wake = null

  /** @param {number} [limit] */
  constructor(limit = LIMIT) {
    this.limit = limit
  }

  /**
   * Add an item; of progress reports in a row only the latest is kept, since each is whole.
   * @param {Signal} item
   * @returns {boolean} false when it was not taken: the mailbox is full or closed
   */
  put(item) {
    if (this.#closed) return false
    if (isProgress(item) && isProgress(this.#items.at(-1))) this.#items.pop()
    if (this.#items.length >= this.limit) return false
    this.#items.push(item)
    this.#wake?.()
    return true
  }

  /**
   * End with an error, after everything that has arrived before it.
   * @param {Error} error
   */
  fail(error) {
    if (!this.#closed) this.#error = error
    this.close()
  }

  /** End, after everything that has arrived before. */
  close() {
    this.#closed = true
    this.#wake?.()
  }

  /** @returns {AsyncGenerator<Signal, void, void>} */
  async *[Symbol.asyncIterator]() {
    while (true) {
      const item = this.#items.shift()
      if (item) yield item
      else if (this.#error) throw this.#error
      else if (this.#closed) return
      else await new Promise((resolve) => (this.#wake = () => resolve(undefined)))
    }
  }
}

/** @param {Signal | undefined} item */
function isProgress(item) {
  return item?.kind === "event" && item.event.type === "progress"
}
