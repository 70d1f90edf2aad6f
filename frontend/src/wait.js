/**
 * Waiting that can be called off.
 * @module
 */

/**
 * Resolve after `milliseconds`, or at once when `signal` is aborted or one of `events` happens on the window.
 * @param {number} milliseconds
 * @param {AbortSignal} signal
 * @param {string[]} [events]  such as `online`: trying again right then is better than waiting on
 * @returns {Promise<void>}
 */
export function wait(milliseconds, signal, events = []) {
  return new Promise((resolve) => {
    const over = new AbortController()
    const done = () => {
      clearTimeout(timer)
      over.abort()
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    if (signal.aborted) return done()
    signal.addEventListener("abort", done, { signal: over.signal })
    for (const name of events) globalThis.addEventListener?.(name, done, { signal: over.signal })
  })
}

/** Runs what it is given one at a time, in order: a page has six connections, and one is enough for small things. */
export class Lane {
  /** @type {Promise<unknown>} */
  #last = Promise.resolve()

  /**
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  run(work) {
    const mine = this.#last.then(work)
    this.#last = mine.catch(() => {}) // its caller sees the error; the next one in the lane does not care
    return mine
  }
}
