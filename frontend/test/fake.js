/** A server for tests of the client: no sockets, every request is answered by hand. */

import { Milepost } from "../src/client.js"
import "../src/hub.js" // which the first watch loads: here it is there already

export const ENCODER = new TextEncoder()

/** @param {string} id @param {number} version @param {object} [fields] */
export const job = (id, version, fields = {}) => ({ id, task: "t", status: "running", version, attempt: 1, ...fields })

/** @param {string} id @param {number} seq @param {string} type @param {object} [fields] */
export const event = (id, seq, type, fields = {}) => ({ type, job_id: id, seq, cursor: `e-${seq}`, ...fields })

/** @param {string} id @param {number} seq */
export const snapshot = (id, seq) => event(id, seq, "snapshot", { job: job(id, seq) })

/** @param {string} id @param {number} seq */
export const progress = (id, seq) => event(id, seq, "progress", { attempt: 1, progress: { current: seq } })

/** @param {string} id @param {number} seq */
export const log = (id, seq) => event(id, seq, "log", { attempt: 1, level: "info", message: `line ${seq}` })

/** @param {string} id @param {number} seq @param {string} [type] */
export const end = (id, seq, type = "end") => event(id, seq, type, { status: "succeeded", attempt: 1, progress: {} })

/** One request: what was asked, and how to answer. A stream stays open until it is cut or closed. */
export class Asked {
  /** @type {ReadableStreamDefaultController<Uint8Array> | undefined} */
  #body
  aborted = false

  /** @param {URL} url @param {RequestInit} init @param {(answer: Response) => void} answer @param {(error: unknown) => void} fail */
  constructor(url, init, answer, fail) {
    this.url = url
    this.method = init.method ?? "GET"
    this.headers = /** @type {Headers} */ (new Headers(init.headers))
    this.path = `${url.pathname}${url.search}`
    this.answer = answer
    this.fail = fail
    init.signal?.addEventListener("abort", () => {
      this.aborted = true
      fail(init.signal?.reason)
      if (this.#body) this.#body.error(init.signal?.reason)
    })
  }

  /** @param {unknown} body @param {number} [status] @param {Record<string, string>} [headers] */
  json(body, status = 200, headers = {}) {
    this.answer(new Response(status === 204 ? null : JSON.stringify(body), { status, headers }))
    return settled()
  }

  /** Begin a stream, and say these events. @param {object[]} events */
  stream(...events) {
    const body = new ReadableStream({ start: (controller) => void (this.#body = controller) })
    this.answer(new Response(body, { headers: { "Content-Type": "text/event-stream; charset=utf-8" } }))
    return events.length ? this.say(...events) : settled()
  }

  /** @param {Record<string, any>[]} events */
  say(...events) {
    const blocks = events.map((one) => `id: ${one.id ?? one.cursor ?? ""}\nevent: ${one.type}\ndata: ${JSON.stringify(one)}\n\n`)
    return this.text(blocks.join(""))
  }

  /** @param {string} text */
  text(text) {
    this.#body?.enqueue(ENCODER.encode(text))
    return settled()
  }

  /** End the body in order. */
  close() {
    this.#body?.close()
    return settled()
  }

  /** Break the connection. */
  cut() {
    this.#body?.error(new TypeError("network error"))
    return settled()
  }
}

/** Everything that can happen without time going by has happened. */
export async function settled() {
  for (let turn = 0; turn < 12; turn++) await new Promise(setImmediate)
}

export class Server {
  /** @type {Asked[]} */
  asked = []

  /** @param {import("node:test").TestContext} context */
  constructor(context) {
    this.context = context
    context.mock.timers.enable({ apis: ["setTimeout"] })
    context.mock.method(globalThis, "fetch", (/** @type {URL} */ url, /** @type {RequestInit} */ init) =>
      new Promise((answer, fail) => this.asked.push(new Asked(url, init, answer, fail))),
    )
    context.mock.method(Math, "random", () => 0.5)
  }

  /** @param {import("../src/client.js").Options} [options] */
  client(options = {}) {
    return new Milepost({ baseUrl: "http://server", share: "", ...options })
  }

  /** What has been asked for and was not looked at. */
  get paths() {
    return this.asked.map(({ path }) => decodeURIComponent(path))
  }

  /** Let time go by, and return the latest request. @param {number} ms */
  async after(ms) {
    await settled()
    this.context.mock.timers.tick(ms)
    await settled()
    return /** @type {Asked} */ (this.asked.at(-1))
  }
}

/** Keep what a watch says. @param {import("../src/watch.js").Watch<any>} watch */
export function heard(watch) {
  /** @type {{seqs: number[], types: string[], updates: any[], problem: any, over: boolean}} */
  const kept = { seqs: [], types: [], updates: [], problem: null, over: false }
  const read = async () => {
    try {
      for await (const update of watch) {
        kept.updates.push(update)
        if (update.event?.seq) kept.seqs.push(update.event.seq)
        if (update.event) kept.types.push(update.event.type)
      }
    } catch (problem) {
      kept.problem = problem
    }
    kept.over = true
  }
  read()
  return kept
}
