/** How much gets done, and how long it takes: from the list of jobs and the live list, in a window that is said. */

import { duration, number } from "../src/format.js"
import { Problem } from "../src/http.js"
import { bucketsOf, quantile } from "./buckets.js"
import { chart } from "./chart.js"
import { make, write } from "./dom.js"
import { href } from "./router.js"
import { brief, shortly } from "./times.js"

/** @typedef {import("../src/job.js").Job} Job */
/** @typedef {import("./buckets.js").Bucket} Bucket */

const MINUTE = 60_000
/** @type {Record<string, {minutes: number, words: string}>} */
const WINDOWS = {
  "15m": { minutes: 15, words: "15 minutes" },
  "1h": { minutes: 60, words: "hour" },
  "24h": { minutes: 1440, words: "24 hours" },
}
const BUCKETS = 30
const MOST = 2000
const PAGE = 200
const DRAW_MS = 2000

export class TrendsView {
  title = "Trends"
  /** @type {Map<string, Job>} that have ended */
  #jobs = new Map()
  #window = "15m"
  /** @type {string | null} where reading had to stop; null when it read the whole window */
  #cut = null
  #charts = make("div", { class: "charts" })
  /** @type {Map<string, HTMLElement>} by the name of the window */
  #links = new Map(Object.entries(WINDOWS).map(([name, { words }]) =>
    [name, make("a", { href: href("trends", "", { window: name }), class: "quiet edged button" }, `Last ${words}`)],
  ))
  #windows = make("div", { class: "windows", role: "group", "aria-label": "Window" }, ...this.#links.values())
  #says = make("p", { class: "hint" })

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app
    const head = make("div", { class: "head" }, make("h1", { tabindex: -1 }, "Trends"), this.#windows)
    this.element = make("section", { class: "trends" }, head, this.#says, this.#charts)
    this.unsubscribe = app.live.subscribe(({ ids }) => this.#keep(ids))
    this.drawing = setInterval(() => document.hidden || this.#draw(), DRAW_MS)
  }

  /** @param {import("./router.js").Route} route */
  async show({ query }) {
    const asked = query.get("window") ?? ""
    this.#window = Object.hasOwn(WINDOWS, asked) ? asked : "15m"
    for (const [name, link] of this.#links) {
      if (name === this.#window) link.setAttribute("aria-current", "true")
      else link.removeAttribute("aria-current")
    }
    this.#keep(this.app.live.jobs.keys())
    this.#draw()
    await this.#read(this.#window)
  }

  close() {
    this.unsubscribe()
    clearInterval(this.drawing)
  }

  /** @param {Iterable<string>} ids */
  #keep(ids) {
    for (const id of ids) {
      const job = this.app.live.jobs.get(id)
      if (job?.done) this.#jobs.set(id, job)
    }
    for (const id of this.#jobs.keys()) {
      if (this.#jobs.size <= MOST * 1.5) break
      this.#jobs.delete(id) // the oldest that was taken in
    }
  }

  /** @param {string} wanted */
  async #read(wanted) {
    if (this.app.session.readOnly) return
    const since = new Date(Date.now() - WINDOWS[wanted].minutes * MINUTE).toISOString()
    this.#cut = null
    try {
      for (let cursor = "", read = 0; cursor !== null; ) {
        const page = await this.app.client.list({ created_after: since, limit: PAGE, ...(cursor ? { cursor } : {}) })
        if (wanted !== this.#window || !this.element.isConnected) return
        for (const job of page.items) if (job.done) this.#jobs.set(job.id, job)
        read += page.items.length
        cursor = /** @type {string} */ (page.next_cursor)
        if (cursor && read >= MOST) this.#cut = page.items.at(-1)?.created_at ?? null
        if (this.#cut) break
      }
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error)
    }
    this.#draw()
  }

  #draw() {
    const { minutes, words } = WINDOWS[this.#window]
    const width = (minutes * MINUTE) / BUCKETS
    const to = Math.ceil(Date.now() / width) * width // so that bars stay the same while time goes on
    const buckets = bucketsOf(this.#jobs.values(), { from: to - minutes * MINUTE, to, count: BUCKETS })
    const ended = buckets.reduce((sum, one) => sum + one.succeeded + one.failed + one.other, 0)
    const from = this.#cut ? `, read back to ${shortly(this.#cut)}: there were more than ${number(MOST)}` : ""
    const says = `From ${number(ended)} ${ended === 1 ? "job" : "jobs"} that were accepted and have ended in the last ${words}${from}.`
    write(this.#says, says)
    this.#charts.replaceChildren(throughput(buckets, width), latency("Time to run", "runs", buckets), latency("Time to wait", "waits", buckets))
  }
}

/**
 * @param {Bucket[]} buckets
 * @param {number} width  of one, in ms
 */
function throughput(buckets, width) {
  const times = buckets.map(({ from }) => from)
  const total = buckets.reduce((sum, one) => sum + one.succeeded + one.failed + one.other, 0)
  const failed = buckets.reduce((sum, one) => sum + one.failed, 0)
  const series = [
    { name: "succeeded", tone: "good", values: buckets.map(({ succeeded }) => succeeded) },
    { name: "failed", tone: "bad", values: buckets.map((bucket) => bucket.failed) },
    { name: "cancelled or expired", tone: "muted", values: buckets.map(({ other }) => other) },
  ]
  const per = total / ((width * buckets.length) / MINUTE)
  const says = `${number(Number(per.toPrecision(2)))} a minute, ${total ? Math.round((failed / total) * 100) : 0}% failed`
  const drawn = chart({ kind: "bars", series, times, says: (value) => number(value), label: `Jobs ended per ${duration(width / 1000)}: ${says}` })
  return panel(`Jobs ended per ${duration(width / 1000)}`, says, drawn)
}

/**
 * @param {string} title
 * @param {"runs" | "waits"} what
 * @param {Bucket[]} buckets
 */
function latency(title, what, buckets) {
  const all = buckets.flatMap((bucket) => bucket[what])
  const [half, most] = [quantile(all, 0.5), quantile(all, 0.95)]
  const says = half === null || most === null ? "nothing to tell yet" : `half within ${brief(half)}, 95% within ${brief(most)}`
  const series = [
    { name: "median", tone: "accent", values: buckets.map((bucket) => quantile(bucket[what], 0.5)) },
    { name: "95%", tone: "warning", values: buckets.map((bucket) => quantile(bucket[what], 0.95)) },
  ]
  const drawn = chart({ kind: "lines", series, times: buckets.map(({ from }) => from), says: brief, label: `${title}: ${says}` })
  return panel(title, says, drawn)
}

/**
 * @param {string} title
 * @param {string} says
 * @param {HTMLElement} drawn
 */
function panel(title, says, drawn) {
  return make("section", { class: "panel" }, make("h2", {}, title), make("p", { class: "hint" }, says), drawn)
}
