/**
 * Who may hold a stream open. Browsers allow six connections to a host over HTTP/1.1, over all tabs together, and a
 * seventh request waits in silence. Web Locks count over all tabs of an origin; where there are none (plain HTTP on
 * another host than this one), each page counts for itself.
 */

const STREAMS = 4 // of six: two are left for requests

export class Slots {
  #taken = new Set()

  /**
   * @param {{count?: number, name?: string, locks?: LockManager | null}} [options]
   */
  constructor({ count = STREAMS, name = "milepost-stream", locks = globalThis.navigator?.locks ?? null } = {}) {
    this.count = count
    this.name = name
    this.locks = locks
  }

  /**
   * Take a slot if one is free.
   * @returns {Promise<(() => void) | null>} how to give it back, null if all are taken
   */
  async take() {
    for (let index = 0; index < this.count; index++) {
      if (this.#taken.has(index)) continue
      this.#taken.add(index)
      const unlock = await this.#lock(index)
      if (unlock) return this.#giver(index, unlock)
      this.#taken.delete(index)
    }
    return null
  }

  /**
   * @param {number} index
   * @param {() => void} unlock
   */
  #giver(index, unlock) {
    return () => {
      this.#taken.delete(index)
      unlock()
    }
  }

  /**
   * Hold the lock of a slot over all tabs; the browser frees it when the page goes away.
   * @param {number} index
   * @returns {Promise<(() => void) | null>}
   */
  #lock(index) {
    const { locks } = this
    if (!locks) return Promise.resolve(() => {})
    return new Promise((resolve) => {
      const held = locks.request(`${this.name}-${index}`, { ifAvailable: true }, (lock) => {
        if (lock === null) return resolve(null)
        return new Promise((unlock) => resolve(() => unlock(undefined)))
      })
      // A page that is being torn down, or a browser that forbids locks there: count alone.
      held.catch(() => resolve(() => {}))
    })
  }
}
