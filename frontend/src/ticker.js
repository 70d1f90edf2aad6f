/** One timer for all elements of a page that show time going by; none while nobody wants it. */
export class Ticker {
  /** @type {Set<() => void>} */
  #wanting = new Set()
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer

  /** @param {number} [milliseconds] */
  constructor(milliseconds = 1000) {
    this.milliseconds = milliseconds
  }

  /** @param {() => void} callback */
  add(callback) {
    this.#wanting.add(callback)
    this.#timer ??= setInterval(() => this.#wanting.forEach((each) => each()), this.milliseconds)
  }

  /** @param {() => void} callback */
  remove(callback) {
    this.#wanting.delete(callback)
    if (this.#wanting.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
