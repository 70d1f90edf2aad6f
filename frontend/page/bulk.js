/** Doing something to all jobs that the filter finds: first it is said how many they are, then it is asked. */

import { number } from "../src/format.js"
import { Problem } from "../src/http.js"
import { confirmed } from "./confirm.js"
import { WORDS } from "./counts.js"
import { button, make } from "./dom.js"
import { isEmpty, matches, SHORTEST, wireOfAll } from "./filters.js"

/** @typedef {import("./actions.js").Action} Action */
/** @typedef {import("./filters.js").Filter} Filter */
/** @typedef {import("../src/client.js").Outcome} Outcome */

/** @type {Record<Action, {label: string, verb: string, done: string, says: string, method: "cancelAll" | "retryAll" | "deleteAll"}>} */
const KINDS = {
  cancel: { label: "Cancel all …", verb: "Cancel", done: "cancelled", says: "Those that wait end at once; the workers of the others are asked to stop.", method: "cancelAll" },
  retry: { label: "Run all again …", verb: "Run", done: "submitted again", says: "A new job is submitted for each. Those that succeeded are left out unless you filter for them.", method: "retryAll" },
  delete: { label: "Delete all …", verb: "Delete", done: "deleted", says: "The jobs, their histories and results are forgotten. This cannot be undone.", method: "deleteAll" },
}

export class BulkMenu {
  #busy = false

  /**
   * @param {import("./app.js").App} app
   * @param {() => import("./shelf.js").Shelf} shelf  what the list shows now
   * @param {() => Promise<void>} changed  after something was done
   */
  constructor(app, shelf, changed) {
    this.app = app
    this.changed = changed
    this.shelf = shelf
    const kinds = /** @type {Action[]} */ (Object.keys(KINDS))
    const buttons = kinds.map((kind) => button(KINDS[kind].label, () => this.#run(kind), { class: "quiet edged", "data-bulk": kind }))
    this.element = make("div", { class: "bulk", role: "group", "aria-label": "All jobs of the list" }, ...buttons)
  }

  /** @param {Action} kind */
  async #run(kind) {
    if (this.#busy) return
    this.#busy = true
    try {
      await this.#ask(kind)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error, `${KINDS[kind].verb} all: `)
    } finally {
      this.#busy = false
    }
  }

  /** @param {Action} kind */
  async #ask(kind) {
    const shelf = this.shelf()
    const { filter } = shelf
    const asked = wireOfAll(filter, shelf.jobs()[0])
    const { method, verb, says, done } = KINDS[kind]
    if (!asked) return this.app.say(`Text is found by ${SHORTEST} characters or more: search for more, or for nothing.`)
    const there = await this.app.client[method](asked, { dryRun: true })
    if (filter !== this.shelf().filter) return // another list is shown by now
    if (there.matched === 0) return this.app.say(`No job of this list is there to ${kind === "retry" ? "run again" : kind}.`)
    const title = `${verb} ${counted(there)}${kind === "retry" ? " again" : ""}?`
    const which = `These are all ${isEmpty(filter) ? "jobs there are" : "that the filters find"}, not only those you see. What comes from now on is left alone.`
    if (!(await confirmed({ title, says: [listed(there), which, says], yes: `${verb} ${counted(there)}`, harmful: kind !== "retry" }))) return
    const result = await this.app.client[method](asked)
    if (kind === "delete") this.app.live.forgetAll((job) => matches(filter, job))
    await this.changed()
    const skipped = result.skipped ? ` ${number(result.skipped)} were left as they are${result.refusals[0] ? `: ${result.refusals[0].detail}` : "."}` : ""
    this.app.say(`${number(result.changed)} ${result.changed === 1 ? "job" : "jobs"} ${done}.${skipped}`)
  }
}

/** @param {Outcome} outcome */
function counted({ matched, capped }) {
  return `${capped.length ? "at least " : ""}${number(matched)} ${matched === 1 ? "job" : "jobs"}`
}

/** @param {Outcome} outcome */
function listed({ by_status: counts }) {
  return `${Object.entries(counts).map(([status, count]) => `${number(count)} ${(WORDS[status] ?? status).toLowerCase()}`).join(", ")}.`
}
