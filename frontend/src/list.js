/**
 * `<milepost-job-list tag="...">`: many jobs, live, over one watch.
 * @module
 */

import { put, WatchingElement } from "./element-base.js"
import { number } from "./format.js"
import { TICKER } from "./ticker.js"
import { describe } from "./view.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./element.js").ProgressElement} ProgressElement */
/** @typedef {import("./watch.js").ManyUpdate} ManyUpdate */

/** @typedef {{item: HTMLElement, bar: ProgressElement, fed: ManyUpdate | null}} Row */

/** How many bars are there, unless `limit` says so; a button brings as many more. */
const SHOWN = 50
/** `all` never ends: of the jobs that have ended, the newest so many are kept. */
const KEPT = 1000
/** Counts change all the time: they are read out now and then. */
const SAID_EVERY_MS = 10_000
const HANDED_DOWN = ["cancel", "retry"]
/** In this order they are counted; what a newer server adds comes after. */
const ORDER = ["running", "queued", "scheduled", "retrying", "failed", "cancelled", "expired", "succeeded"]

/** @type {ManyUpdate} */
const NOTHING = { id: null, job: null, event: null, connection: "connecting", problem: null }

const STYLE = `:host{display:block;line-height:1.5;font-variant-numeric:tabular-nums}
:host([hidden]),[hidden]{display:none}
#summary{display:block;min-height:1.5em}
#summary>:not(:empty){margin-inline-end:.75em;unicode-bidi:plaintext}
#list{list-style:none;margin:0;padding:0}
li{margin-block:.75em}
#more{font:inherit;color:inherit;background:0 0;border:1px solid color-mix(in srgb,currentColor 50%,#0000);border-radius:.5em;padding:.25em 1em}
#said{position:absolute;clip-path:inset(50%)}`
const TREE = `:summary list=ul more=button empty=slot said
summary:counts trouble`

/**
 * Shows the jobs that one attribute selects: `jobs` (ids, in this order), `tag`, `batch` or `all`, the newest first. Each
 * is a `<milepost-progress>`, whose parts can be styled from the page. What is in the tag stands there without JavaScript, and
 * as long as there is no job.
 *
 * Attributes also: `limit` (50), `label`, `src`, `token`, `cancel`, `retry`. Property: `client`. Events: `milepost-update`
 * for every change, `milepost-end` when all have ended; `detail` is `{id, job, event, connection, problem}`;
 * `milepost-retry`. Parts: `summary`, `counts`, `trouble`, `list`, `item`, `more`, and those of `<milepost-progress>`.
 */
export class JobListElement extends WatchingElement {
  static observedAttributes = ["jobs", "tag", "batch", "all", "limit", "label", "src", "token", ...HANDED_DOWN]

  /** @type {Map<string, ManyUpdate>} by id */
  #updates = new Map()
  /** @type {Map<string, Row>} those that are shown, by id */
  #items = new Map()
  #update = NOTHING
  #selected = ""
  #again = 0
  #extra = 0
  #lostAt = 0
  #saidAt = 0
  #frame = 0
  #tick = () => this.draw()

  constructor() {
    super(STYLE, TREE)
    const { list, more } = this.parts
    put(list, "role", "list") // a list without bullets is none for Safari
    more.onclick = () => this.#more()
    list.addEventListener("milepost-retry", (event) => this.#retried(/** @type {CustomEvent} */ (event)))
  }

  /** The jobs as far as they are known, in the order of the list. */
  get value() {
    return this.#ordered().flatMap(({ job }) => job ?? [])
  }

  get #ids() {
    return this.getAttribute("jobs")?.split(/\s+/).filter(Boolean)
  }

  get #limit() {
    return Number(this.getAttribute("limit")) || SHOWN
  }

  /** @protected */
  get wanted() {
    const ids = this.#ids
    const [name] = ["tag", "batch"].filter((each) => this.getAttribute(each))
    const selection = ids ?? (name ? { [name]: this.getAttribute(name) } : this.hasAttribute("all") ? { all: true } : null)
    if (!selection || ids?.length === 0) return ""
    // White space is nothing in JSON, and makes another text of it: the same is asked for again.
    return JSON.stringify(ids ? { ids } : selection) + " ".repeat(this.#again)
  }

  /**
   * @protected
   * @param {Milepost} client
   */
  open(client) {
    const selected = this.wanted.trim()
    if (this.#selected !== selected) {
      for (const id of this.#updates.keys()) if (!this.#ids?.includes(id)) this.#updates.delete(id)
    }
    this.#selected = selected
    this.#update = NOTHING
    return client.watchMany(JSON.parse(selected))
  }

  /**
   * @protected
   * @param {ManyUpdate} update
   */
  show(update) {
    const before = this.#update.connection
    if (before !== "reconnecting") this.#lostAt = performance.now()
    this.#update = update
    this.#keep(update)
    this.tell("update", update)
    if (update.connection === "ended" && before !== "ended") this.tell("end", update)
    this.draw()
  }

  /** @param {ManyUpdate} update */
  #keep(update) {
    const { id, job, event } = update
    if (id === null) return
    const missing = event?.type === "job_missing"
    if (missing && event.reason === "deleted") this.#updates.delete(id)
    else if (job) this.#updates.set(id, update)
    else if (missing) this.#updates.set(id, { ...update, connection: "refused", problem: "There is no such job, or no longer." })
    if (!this.hasAttribute("all")) return
    for (const [old, { job }] of this.#updates) {
      if (this.#updates.size <= KEPT) return
      if (job?.done) this.#updates.delete(old)
    }
  }

  /** @returns {ManyUpdate[]} */
  #ordered() {
    const places = new Map(this.#ids?.map((id, place) => [id, place]))
    const updates = [...this.#updates.values()]
    if (places.size) return updates.sort((one, other) => (places.get(one.id ?? "") ?? 0) - (places.get(other.id ?? "") ?? 0))
    return updates.sort((one, other) => (age(one) < age(other) ? 1 : -1))
  }

  /** Once in a frame, however much is heard; while nobody sees it, not at all. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0
      this.#draw()
    })
  }

  #draw() {
    const ordered = this.#ordered()
    const shown = ordered.slice(0, this.#limit + this.#extra)
    const ids = new Set(shown.map(({ id }) => id))
    for (const [id, { item }] of this.#items) {
      if (ids.has(id) || item.matches(":focus-within")) continue // nobody's focus is taken away
      item.remove()
      this.#items.delete(id)
    }
    shown.forEach((update, place) => this.#place(update, place))
    this.parts.empty.hidden = ordered.length > 0 || ["connecting", "refused"].includes(this.#update.connection)
    this.#tell(ordered)
    const rest = ordered.length - shown.length
    this.parts.more.hidden = rest === 0
    this.write("more", `Show ${number(Math.min(rest, this.#limit))} more of ${number(rest)}`)
    put(this.parts.list, "aria-label", this.getAttribute("label") ?? "Jobs")
    TICKER.set(this.#tick, this.isConnected && this.#update.connection !== "ended")
  }

  /**
   * @param {ManyUpdate} update
   * @param {number} place
   */
  #place(update, place) {
    const { list } = this.parts
    const id = /** @type {string} */ (update.id)
    const row = this.#items.get(id) ?? this.#row(id)
    if (list.children[place] !== row.item) list.insertBefore(row.item, list.children[place] ?? null)
    for (const name of HANDED_DOWN) row.bar.toggleAttribute(name, this.hasAttribute(name))
    if (row.fed === update) return
    row.fed = update
    row.bar.client = this.client
    put(row.bar, "label", update.job ? null : id)
    row.bar.show(update)
  }

  /**
   * @param {string} id
   * @returns {Row}
   */
  #row(id) {
    const item = document.createElement("li")
    const bar = /** @type {ProgressElement} */ (document.createElement("milepost-progress"))
    put(item, "part", "item")
    put(bar, "exportparts", Object.keys(bar.parts).join())
    put(bar, "quiet", "")
    item.tabIndex = -1
    item.append(bar)
    const row = { item, bar, fed: null }
    this.#items.set(id, row)
    return row
  }

  /**
   * How many of what: to eyes at once, to ears when there has been silence for a while.
   * @param {ManyUpdate[]} ordered
   */
  #tell(ordered) {
    const now = performance.now()
    const { status, trouble } = describe({ ...this.#update, job: null }, { lost: (now - this.#lostAt) / 1000 })
    const counts = new Map(ORDER.map((each) => [each, 0]))
    for (const { job } of ordered) if (job) counts.set(job.status, (counts.get(job.status) ?? 0) + 1)
    const told = [...counts].flatMap(([each, count]) => (count ? `${number(count)} ${each}` : [])).join(", ")
    this.write("counts", told || (this.parts.empty.hidden ? status : "No jobs yet."))
    this.write("trouble", trouble)
    if (this.#saidAt && now - this.#saidAt < SAID_EVERY_MS && this.#update.connection !== "ended") return
    // Not what was so when the page came.
    if (this.#saidAt) this.write("said", told)
    if (told) this.#saidAt = now
  }

  #more() {
    const next = this.#items.size
    this.#extra += this.#limit
    this.#draw()
    const first = /** @type {HTMLElement | undefined} */ (this.parts.list.children[next])
    first?.focus() // the button may be gone
  }

  /**
   * The new job is a row of its own; whether the watch knows of it depends on what it was asked for.
   * @param {CustomEvent<{job: Job}>} event
   */
  #retried(event) {
    event.preventDefault()
    const { job } = event.detail
    this.#keep({ ...this.#update, id: job.id, job, event: null })
    if (this.#ids) this.setAttribute("jobs", [...this.#ids, job.id].join(" "))
    else this.#again++
    this.changed()
  }
}

/** @param {ManyUpdate} update */
function age({ id, job }) {
  return `${job?.created_at ?? ""} ${id}`
}
