/** Whether the server answers and a worker is there, asked every few seconds while somebody looks. */

import { Problem } from "../src/http.js"
import { get, prose } from "./dom.js"

/** @typedef {import("../src/client.js").Client} Client */

const BEAT_MS = 3000
const NO_WORKER =
  "No worker is running. Jobs are accepted and wait until one is there: start one with `milepost worker MODULE`, or " +
  "everything at once with `milepost up`."

export class Pulse {
  /** @type {number | null} null before anybody was counted, and after the server was away */
  #count = null
  #notice = get("#notice")
  #workers = get("#workers")

  /**
   * @param {Client} client
   * @param {{workersChanged: () => Promise<void>, beat: () => Promise<void>}} tell
   */
  constructor(client, tell) {
    this.client = client
    this.tell = tell
  }

  /** Begin; a page nobody sees asks nothing, and asks at once when it is seen again. */
  async start() {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer
    const beat = async () => {
      clearTimeout(timer)
      if (document.hidden) return
      await this.#beat()
      clearTimeout(timer)
      timer = setTimeout(beat, BEAT_MS)
    }
    document.addEventListener("visibilitychange", beat)
    await beat()
  }

  async #beat() {
    try {
      const workers = await this.client.workers()
      if (this.#count !== workers.length) await this.tell.workersChanged()
      await this.tell.beat()
      this.#found(workers.length)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.#count = null
      this.#say(error.temporary ? `${error.message} Trying again.` : error.message)
      this.#workers.textContent = ""
    }
  }

  /** @param {number} count */
  #found(count) {
    this.#count = count
    this.#say(count === 0 ? NO_WORKER : "")
    this.#workers.textContent = count === 1 ? "1 worker" : `${count} workers`
    this.#workers.dataset.there = String(count > 0)
  }

  /** @param {string} sentence */
  #say(sentence) {
    if (this.#notice.dataset.said === sentence) return // said again, it would be read out again
    this.#notice.dataset.said = sentence
    this.#notice.hidden = sentence === ""
    this.#notice.replaceChildren(...prose(sentence))
  }
}
