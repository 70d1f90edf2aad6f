/** A view that is one table, brought up to date while somebody looks at it. */

import { Problem } from "../src/http.js"
import { make } from "./dom.js"
import { Table } from "./table.js"

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./table.js").Row} Row */

/**
 * What is a view's own. `empty`: what to say where nothing is, what then, and the command for that.
 * `read` returns null where nobody knows.
 * @template Item
 * @typedef {{title: string, heads: string[], empty: [what: string, then: string, command: string],
 *   read: () => Item[] | null | Promise<Item[]>, row: (item: Item) => Row}} Parts
 */

/** @template Item */
export class TableView {
  #empty
  #table
  #read
  #row

  /**
   * @param {App} app
   * @param {Parts<Item>} parts
   */
  constructor(app, { title, heads, empty, read, row }) {
    this.app = app
    this.title = title
    this.#empty = emptiness(...empty)
    this.#table = new Table(title, heads)
    this.#read = read
    this.#row = row
    this.element = make("section", {}, make("div", { class: "head" }, make("h1", { tabindex: -1 }, title)), this.#empty, this.#table.element)
    this.unsubscribe = app.known.subscribe(() => this.show())
  }

  /** What nobody knows, or what the server does not say, leaves there what stands. */
  async show() {
    try {
      const items = await this.#read()
      if (items !== null) this.#draw(items)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error)
    }
  }

  close() {
    this.unsubscribe()
  }

  /** @param {Item[]} items */
  #draw(items) {
    this.#empty.hidden = items.length > 0
    this.#table.show(items.map(this.#row))
  }
}

/**
 * What stands where nothing is.
 * @param {string} what
 * @param {string} then
 * @param {string} command
 */
function emptiness(what, then, command) {
  const pre = make("pre", { tabindex: 0, "aria-label": "Command" }, make("code", {}, command))
  return make("div", { class: "empty", hidden: true }, make("p", {}, make("strong", {}, what), ` ${then}`), pre)
}
