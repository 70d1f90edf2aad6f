/**
 * How long to wait before the next try: exponential, with full jitter, so that a thousand tabs do not come back in
 * the same instant (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export class Backoff {
  /** How often it has waited since the last success, which sets it to 0. */
  tries = 0

  /**
   * @param {{base?: number, cap?: number, random?: () => number}} [options]  milliseconds
   */
  constructor({ base = 500, cap = 30_000, random = Math.random } = {}) {
    this.base = base
    this.cap = cap
    this.random = random
  }

  /** @returns {number} milliseconds */
  next() {
    return this.random() * Math.min(this.cap, this.base * 2 ** this.tries++)
  }
}
