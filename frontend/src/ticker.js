/** One timer for all that show time going by; none while nobody wants it. */
export class Ticker {
  /** @type {Set<() => void>} */
  #wanting = new Set()
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer

  /** @param {number} [milliseconds] */
  constructor(milliseconds = 1000) {
    this.milliseconds = milliseconds
  }

  /**
   * @param {() => void} callback
   * @param {boolean} wanted  from now on, or no longer
   */
  set(callback, wanted) {
    this.#wanting[wanted ? "add" : "delete"](callback)
    if (!this.#wanting.size) this.#timer = clearInterval(this.#timer) ?? undefined
    else this.#timer ??= setInterval(() => this.#wanting.forEach((each) => each()), this.milliseconds)
  }
}

export const TICKER = new Ticker()
