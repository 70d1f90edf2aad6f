/** A client whose watches the test drives by hand, and jobs to say of them. */

import { readJob } from "../../../frontend/src/job.js"

export class Hand {
  /** Every watch there was; `closed` says which are over. @type {any[]} */
  watches = []
  /** What was asked for, in order. @type {string[]} */
  asked = []
  /** What `cancel` and `retry` wait for. */
  patience = Promise.resolve()
  /** @type {Error | null} */
  refusal = null

  watch(id) {
    return this.#open(id)
  }

  watchMany(selection) {
    return this.#open(JSON.stringify(selection))
  }

  #open(of) {
    const watch = Object.assign(new EventTarget(), { of, closed: false, close: () => (watch.closed = true) })
    this.watches.push(watch)
    return watch
  }

  get open() {
    return this.watches.filter(({ closed }) => !closed).map(({ of }) => of)
  }

  /** Say something on every watch that is open, or was: closing is for the listener to respect. */
  tell(update, watches = this.watches.filter(({ closed }) => !closed)) {
    const detail = { job: null, event: null, connection: "live", problem: null, ...update }
    for (const watch of watches) watch.dispatchEvent(new CustomEvent("update", { detail }))
  }

  cancel(id) {
    return this.#answer(`cancel ${id}`, "requested")
  }

  retry(id) {
    return this.#answer(`retry ${id}`, job({ id: `${id}-again`, retry_of: id, status: "queued", created_at: "2026-11-22T08:00:00Z" }))
  }

  async #answer(asked, answer) {
    this.asked.push(asked)
    await this.patience
    if (this.refusal) throw this.refusal
    return answer
  }
}

/** A job with these fields, running unless they say otherwise. */
export function job(fields = {}) {
  return readJob({ id: "a", task: "demo.count", status: "running", attempt: 1, max_attempts: 3, ...fields })
}

/** The same, so many percent on its way. */
export function at(percent, fields = {}) {
  return job({ progress: { percent, current: percent, total: 100, unit: "rows" }, ...fields })
}

/** As many frames as it takes the browser to have drawn what was said. */
export async function drawn() {
  for (let frame = 0; frame < 3; frame++) await new Promise((resolve) => requestAnimationFrame(resolve))
}
