/** A browser for tests of tabs that share: their locks, their channel and what happens to each, as a test wants it. */

import assert from "node:assert/strict"
import { Server, settled } from "./fake.js"

/** Web Locks as far as they are needed (https://w3c.github.io/web-locks/): one holder, a queue, `signal` and `steal`. */
class Locks {
  /** @type {Map<string, {release: () => void, lose: (error: Error) => void}>} */
  held = new Map()
  /** @type {[string, () => void][]} */
  queue = []

  async query() {}

  /** @param {string} name @param {{signal?: AbortSignal, steal?: boolean}} options @param {() => unknown} work */
  request(name, { signal, steal }, work) {
    return new Promise((resolve, reject) => {
      const grant = () => {
        const release = () => {
          if (this.held.get(name)?.release !== release) return
          this.held.delete(name)
          const next = this.queue.find(([wanted]) => wanted === name)
          this.queue = this.queue.filter((one) => one !== next)
          next?.[1]()
        }
        this.held.set(name, { release, lose: reject })
        Promise.resolve(work()).then((value) => (release(), resolve(value)))
      }
      if (steal) {
        this.held.get(name)?.lose(new DOMException("stolen", "AbortError"))
        this.held.delete(name)
      }
      if (!this.held.has(name)) return void queueMicrotask(grant), this.held.set(name, { release: () => {}, lose: reject })
      const waiting = /** @type {[string, () => void]} */ ([name, grant])
      this.queue.push(waiting)
      signal?.addEventListener("abort", () => {
        this.queue = this.queue.filter((one) => one !== waiting)
        reject(signal.reason)
      })
    })
  }
}

/** BroadcastChannel, without a process that it keeps alive. */
export class Channel {
  /** @type {Set<Channel>} */
  static all = new Set()
  /** @type {((message: {data: any}) => void) | null} */
  onmessage = null

  /** @param {string} name */
  constructor(name) {
    this.name = name
    Channel.all.add(this)
  }

  /** @param {any} data */
  postMessage(data) {
    assert.ok(Channel.all.has(this), "the channel is closed")
    this.carry(data)
  }

  /** @param {any} data */
  carry(data) {
    const copy = structuredClone(data)
    for (const one of Channel.all) {
      if (one !== this && one.name === this.name) queueMicrotask(() => Channel.all.has(one) && one.onmessage?.({ data: copy }))
    }
  }

  close() {
    Channel.all.delete(this)
  }
}

/**
 * Let what a tab says be under way until the others shall hear it, so many messages of it or all.
 * @param {number} place  of the tab, among those that are there
 * @returns {(most?: number) => Promise<void>}
 */
export function hold(place) {
  const channel = [...Channel.all][place]
  /** @type {any[]} */
  const underWay = []
  channel.postMessage = (data) => void underWay.push(structuredClone(data))
  return (most = Infinity) => {
    for (const data of underWay.splice(0, most)) channel.carry(data)
    if (most === Infinity) Reflect.deleteProperty(channel, "postMessage")
    return settled()
  }
}

/** A browser in which each client is a tab; `happen` makes something happen to one of them. */
export class Browser extends Server {
  hidden = false

  /** @param {import("node:test").TestContext} context */
  constructor(context) {
    super(context)
    Channel.all.clear()
    const browser = this
    const fakes = {
      navigator: { locks: new Locks(), onLine: true },
      BroadcastChannel: Channel,
      addEventListener: this.#listen.bind(this),
      document: {
        get hidden() {
          return browser.hidden
        },
      },
    }
    for (const [name, value] of Object.entries(fakes)) {
      const before = Object.getOwnPropertyDescriptor(globalThis, name)
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
      context.after(() => (before ? Object.defineProperty(globalThis, name, before) : Reflect.deleteProperty(globalThis, name)))
    }
    context.mock.method(Math, "random", () => (this.#tab += 0.001))
    // The real one works on another thread, in its own time.
    context.mock.method(crypto.subtle, "digest", async (/** @type {string} */ _, /** @type {Uint8Array} */ text) => text)
  }

  #tab = 0.1
  /** Of the tabs that have not listened yet: each does at its first watch. @type {Record<string, () => void>[]} */
  #deaf = []

  /** @param {import("../src/client.js").Options} [options] */
  tab(options = {}) {
    /** @type {Record<string, () => void>} */
    const handlers = {}
    this.#deaf.push(handlers)
    return { client: this.client({ share: "us", ...options }), happen: (/** @type {string} */ name) => (handlers[name](), settled()) }
  }

  /** @param {string} name @param {() => void} handler @param {boolean} [capture]  all that a tab listens for, it captures */
  #listen(name, handler, capture) {
    if (!capture) return
    const listening = this.#deaf[0]
    listening[name] = handler
    if (name === "freeze") this.#deaf.shift() // the last of them
  }

  /** Long enough to find each other. */
  async found() {
    for (let turn = 0; turn < 4; turn++) await this.after(25)
    return /** @type {import("./fake.js").Asked} */ (this.asked.at(-1))
  }
}
