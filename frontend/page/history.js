/** The events of one job that the page keeps: the story of its statuses, and the most recent of all the rest. */

import { Problem } from "../src/http.js"

/** @typedef {import("../src/fold.js").JobEvent} JobEvent */

const KEPT = 500

export class History {
  /** @type {Map<number, JobEvent>} by seq: the tail */
  tail = new Map()
  /** @type {Map<number, JobEvent>} by seq: statuses and the end */
  #story = new Map()
  #asked = false
  /** Why nothing of before is here; "" when it is. */
  missing = ""
  /** Whether it begins later than the job did. */
  isTail = false

  /**
   * @param {import("./app.js").App} app
   * @param {string} id
   */
  constructor({ client, ask }, id) {
    this.client = client
    this.ask = ask
    this.id = id
  }

  /** @returns {JobEvent[]} statuses and the end, in order */
  get story() {
    return inOrder(this.#story)
  }

  /** @returns {JobEvent[]} the most recent events, in order */
  get events() {
    return inOrder(this.tail)
  }

  /** @param {JobEvent} event */
  take(event) {
    if (event.type === "snapshot" || !event.seq) return
    this.tail.set(event.seq, event)
    if (event.type === "status" || event.type === "end") this.#story.set(event.seq, event)
    if (this.tail.size <= KEPT * 1.2) return
    this.isTail = true
    this.tail = new Map(this.events.slice(-KEPT).map((one) => [one.seq ?? 0, one]))
  }

  /**
   * Fetch what was before, once. `seq` is dense, so a cursor tells how far back to begin.
   * @param {string} cursor  `<epoch>-<seq>`, up to where the history is to be told
   */
  async recall(cursor) {
    const [epoch, seq] = cursor.split("-")
    if (this.#asked || !seq) return
    this.#asked = true
    const from = Math.max(0, Number(seq) - KEPT)
    this.isTail = from > 0
    try {
      const story = from === 0 ? [] : await this.ask.story(this.id)
      const tail = await this.client.events(this.id, { after: from === 0 ? "" : `${epoch}-${from}`, limit: KEPT })
      for (const event of story) if (event.seq) this.#story.set(event.seq, event)
      for (const event of tail?.items ?? []) if (!this.tail.has(event.seq ?? 0)) this.take(event)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.missing = error.message // the history is an extra: without it the page is still right
    }
  }
}

/** @param {Map<number, JobEvent>} events */
function inOrder(events) {
  return [...events.values()].sort((one, other) => (one.seq ?? 0) - (other.seq ?? 0))
}
