/** The jobs on the page: those under way and the most recent that ended, newest first. */

import { Card } from "./card.js"
import { get } from "./dom.js"

/** @typedef {import("../src/client.js").Client} Client */
/** @typedef {import("../src/job.js").Job} Job */

const UNDER_WAY = ["scheduled", "queued", "running", "retrying"]
const UNDER_WAY_SHOWN = 30
const RECENT_SHOWN = 10
const CARDS = 60 // more than that is a table's work, not a page's of bars
const DISMISSED = "milepost-dismissed"
const DISMISSED_KEPT = 500

export class Board {
  /** @type {Map<string, Card>} by job id */
  #cards = new Map()
  #dismissed = new Set(remembered())
  #listed = false
  /** @type {Job | undefined} the newest job that was listed */
  #newest
  #list
  #empty = get("#empty")
  #clear = get("#clear")

  /**
   * @param {Client} client
   * @param {HTMLElement} place
   */
  constructor(client, place) {
    this.client = client
    this.#list = get("#cards", place)
    this.#clear.addEventListener("click", () => this.#clearFinished())
    place.addEventListener("milepost-end", () => this.#count())
  }

  /** Show what the server has, and from then on what others submit: this is how a page finds its jobs again. */
  async refresh() {
    await (this.#listed ? this.#addNewer(this.#newest) : this.#load())
    this.#count()
  }

  async #load() {
    const underWay = await this.client.list({ status: UNDER_WAY, limit: UNDER_WAY_SHOWN })
    const recent = await this.client.list({ limit: RECENT_SHOWN })
    for (const job of [...recent.items, ...underWay.items]) this.add(job)
    get("#more").hidden = underWay.next_cursor === null
    this.#newest = recent.items[0]
    this.#listed = true
  }

  /** @param {Job | undefined} newest */
  async #addNewer(newest) {
    const { items } = await this.client.list({ limit: UNDER_WAY_SHOWN })
    for (const job of items) if (!job.done || !newest || isNewer(job, newest)) this.add(job)
    this.#newest = items[0] ?? newest
  }

  /**
   * @param {Job} job
   * @param {{show?: boolean}} [options]  `show`: bring it into view
   */
  add(job, { show = false } = {}) {
    if (this.#dismissed.has(job.id) || this.#cards.has(job.id)) return
    const card = new Card(this.client, job, () => this.#dismiss(job.id))
    // Newest first, whatever came in which order.
    const next = this.#shown().find((other) => isNewer(job, other.job))
    this.#list.insertBefore(card.element, next?.element ?? null)
    this.#cards.set(job.id, card)
    this.#trim()
    this.#count()
    if (show) card.element.scrollIntoView({ block: "nearest" })
  }

  /** @param {string} id */
  #dismiss(id) {
    const element = this.#cards.get(id)?.element
    const next = element?.nextElementSibling ?? element?.previousElementSibling
    this.#forget(id)
    this.#count()
    // The focus went away with the card: on to the next one, or to where jobs begin.
    const target = next?.querySelector("button") ?? get("#jobs")
    target.focus()
  }

  #clearFinished() {
    for (const [id, card] of [...this.#cards]) if (card.job.done) this.#forget(id)
    this.#count()
    get("#jobs").focus()
  }

  /** @param {string} id */
  #forget(id) {
    this.#cards.get(id)?.element.remove()
    this.#cards.delete(id)
    this.#dismissed.add(id)
    sessionStorage.setItem(DISMISSED, JSON.stringify([...this.#dismissed].slice(-DISMISSED_KEPT)))
  }

  /** Let go of the oldest that have ended. */
  #trim() {
    for (const card of this.#shown().reverse()) {
      if (this.#cards.size <= CARDS) return
      if (!card.job.done) continue
      card.element.remove()
      this.#cards.delete(card.job.id)
    }
  }

  /** @returns {Card[]} from top to bottom */
  #shown() {
    return [...this.#cards.values()].sort((one, other) => (isNewer(one.job, other.job) ? -1 : 1))
  }

  #count() {
    this.#empty.hidden = this.#cards.size > 0
    this.#clear.hidden = ![...this.#cards.values()].some((card) => card.job.done)
  }
}

/**
 * Ids may be of the clients' choice, so they say nothing of the time; between jobs of one millisecond they decide.
 * @param {Job} job
 * @param {Job} other
 */
function isNewer(job, other) {
  const [at, before] = [job.created_at ?? "", other.created_at ?? ""]
  return at === before ? job.id > other.id : at > before
}

/** @returns {string[]} the ids that were dismissed in this tab */
function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(DISMISSED) ?? "[]")
  } catch {
    return [] // written by something else: then nothing was dismissed
  }
}
