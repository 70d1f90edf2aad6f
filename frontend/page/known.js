/** What the installation is made of, asked for every few seconds while somebody looks: workers, tasks. */

import { Problem } from "../src/http.js"

/** @typedef {import("../src/client.js").TaskInfo} TaskInfo */
/** @typedef {import("../src/client.js").WorkerInfo} WorkerInfo */

const BEAT_MS = 3000
const FIRST = "demo.count"

export class Known {
  /** @type {Map<string, TaskInfo>} by name */
  tasks = new Map()
  /** @type {WorkerInfo[] | null} null before they were counted, and while the server is away */
  workers = null
  /** @type {Set<() => void>} */
  #readers = new Set()
  /** Without another key there is nothing to ask; the page that has got one begins anew. */
  #refused = false

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app
  }

  /**
   * @param {() => void} reader
   * @returns {() => void} to be called by who has heard enough
   */
  subscribe(reader) {
    this.#readers.add(reader)
    return () => this.#readers.delete(reader)
  }

  /** A page that nobody sees asks nothing, and asks at once when it is seen again. */
  start() {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer
    const beat = async () => {
      clearTimeout(timer)
      if (document.hidden || this.#refused) return
      await this.#beat()
      clearTimeout(timer)
      timer = setTimeout(beat, BEAT_MS)
    }
    document.addEventListener("visibilitychange", beat)
    return beat()
  }

  /** @throws {Problem} */
  async read() {
    const workers = await this.app.client.workers()
    const tasks = await this.app.client.tasks()
    this.tasks = new Map(tasks.map((task) => [task.name, task]))
    this.workers = workers
    for (const reader of [...this.#readers]) reader()
  }

  /** A task to teach by, and params that it takes. */
  example() {
    const [first] = this.tasks.has(FIRST) || this.tasks.size === 0 ? [FIRST] : this.tasks.keys()
    return { name: first, params: first === FIRST ? { steps: 20, delay_seconds: 0.25 } : {} }
  }

  async #beat() {
    try {
      await this.read()
      this.app.reached()
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.workers = null
      this.#refused = error.status === 401
      this.app.failed(error)
    }
  }
}
