/** The list of jobs, live. */

import { Problem } from "../src/http.js"
import { BulkMenu } from "./bulk.js"
import { Counts } from "./counts.js"
import { submitCommand } from "./curl.js"
import { button, hide, make, prose, write } from "./dom.js"
import { FilterBar } from "./filter-bar.js"
import { filterOf, isEmpty, matches, queryOf, wire } from "./filters.js"
import { href } from "./router.js"
import { JobRow } from "./row.js"
import { Shelf } from "./shelf.js"
import { Windowed } from "./windowed.js"

/** @typedef {import("./app.js").App} App */

const COUNT_MS = 2000
const TICK_MS = 1000

export class JobsView {
  title = "Jobs"
  #heading = make("h1", { tabindex: -1 }, "Jobs")
  #counts = new Counts()
  #list = make("ol", { class: "rows", role: "list", "aria-label": "Jobs" })
  #empty = make("div", { class: "empty", hidden: true })
  #more = button("Load older jobs", () => this.#fetch(), { class: "quiet edged more", hidden: true })
  #told = make("p", { class: "hint told", role: "status" })
  /** @type {Shelf} */
  #shelf
  #countedAt = -Infinity
  #taught = ""

  /**
   * @param {App} app
   * @param {import("./router.js").Route} route
   */
  constructor(app, route) {
    this.app = app
    this.#shelf = new Shelf(app, filterOf(route.query))
    this.bar = new FilterBar((typed, how) => app.go(href("jobs", "", queryOf({ ...this.#shelf.filter, ...typed })), how))
    this.rows = new Windowed(this.#list, () => new JobRow(app), {
      nearEnd: () => this.#fetch(),
      newest: (job) => app.live.jobs.get(job.id) ?? job,
    })
    const bulk = app.session.readOnly ? null : new BulkMenu(app, () => this.#shelf, () => this.#renew()).element
    const head = make("div", { class: "head" }, this.#heading, bulk)
    this.element = make("section", { class: "jobs" }, head, this.#counts.element, this.bar.element, this.#told, this.#list, this.#empty, this.#more)
    this.unsubscribe = app.live.subscribe((change) => this.#changed(change))
    this.ticking = setInterval(() => this.#tick(), TICK_MS)
  }

  /** @param {import("./router.js").Route} route */
  async show(route) {
    const filter = filterOf(route.query)
    this.bar.show(filter)
    this.#counts.point(filter)
    await this.#renew(filter)
  }

  /** Begin anew: with another filter, or after many jobs were changed. */
  async #renew(filter = this.#shelf.filter) {
    this.#shelf = new Shelf(this.app, filter)
    this.#list.setAttribute("aria-busy", "true")
    this.#countedAt = -Infinity
    this.#draw()
    this.bar.offer("task", [...this.app.known.tasks.keys()])
    await Promise.all([this.#count(), this.#fetch()])
  }

  close() {
    this.unsubscribe()
    clearInterval(this.ticking)
    this.rows.close()
    this.bar.close()
  }

  /** @param {import("./live.js").Change} change */
  #changed({ ids, moved }) {
    this.#shelf.keep(ids)
    if (moved && this.app.session.readOnly) this.#count()
    if (moved) this.#draw()
    else if (ids.size) this.rows.draw()
  }

  async #fetch() {
    const shelf = this.#shelf
    if (shelf.isWhole || shelf.isAsking) return
    try {
      await shelf.more()
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error)
    }
    if (shelf === this.#shelf) this.#draw()
  }

  #draw() {
    const jobs = this.#shelf.jobs()
    const ready = this.#shelf.isWhole || jobs.length > 0
    this.rows.set(jobs)
    this.#list.setAttribute("aria-busy", String(!ready))
    this.#list.hidden = jobs.length === 0
    hide(this.#empty, jobs.length > 0 || !ready || this.#shelf.isAsking, this.#heading)
    if (!this.#empty.hidden) this.#teach()
    hide(this.#more, this.#shelf.isWhole || this.#shelf.isFull || jobs.length === 0, this.#heading)
    write(this.#told, this.#shelf.isFull ? "Only so many are shown: narrow the filters to see older ones." : "")
  }

  /** An empty list says why it is, and what to do about it. */
  #teach() {
    const about = JSON.stringify([isEmpty(this.#shelf.filter), this.app.known.example()])
    if (this.#taught === about) return // other jobs come and go: nobody's focus or selection goes with them
    this.#taught = about
    if (this.app.session.readOnly) return this.#empty.replaceChildren("This token reads no job that is there. Those that come will appear here.")
    if (!isEmpty(this.#shelf.filter)) {
      return this.#empty.replaceChildren(make("p", {}, make("strong", {}, "No job fits these filters."), " Jobs that come to fit them appear here."), make("a", { href: "#/jobs" }, "Clear filters"))
    }
    const { name, params } = this.app.known.example()
    const command = submitCommand(this.app.client.url("v1/jobs"), name, params)
    const start = make("p", {}, make("strong", {}, "No jobs yet."), " ", make("a", { href: "#/new" }, "Start one here"), ", or from a terminal, and watch it appear:")
    const pre = make("pre", { tabindex: 0, "aria-label": "Command", id: "empty-curl" }, make("code", {}, command))
    this.#empty.replaceChildren(start, pre, make("p", { class: "hint" }, ...prose("With `milepost up` a worker with demo tasks is there already.")))
  }

  /** Numbers that go on: how long jobs have run, and how many there are. */
  #tick() {
    if (document.hidden) return
    this.rows.draw()
    this.bar.offer("task", [...this.app.known.tasks.keys()])
    if (performance.now() - this.#countedAt > COUNT_MS) this.#count()
  }

  async #count() {
    this.#countedAt = performance.now()
    const { filter } = this.#shelf
    if (this.app.session.readOnly) return this.#counts.show(this.#countLive())
    try {
      const { by_status, capped } = await this.app.client.counts(wire({ ...filter, status: [] }))
      if (filter === this.#shelf.filter) this.#counts.show(by_status, capped)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error)
    }
  }

  #countLive() {
    /** @type {Record<string, number>} */
    const counts = {}
    for (const job of this.app.live.jobs.values()) {
      if (matches({ ...this.#shelf.filter, status: [] }, job)) counts[job.status] = (counts[job.status] ?? 0) + 1
    }
    return counts
  }
}
