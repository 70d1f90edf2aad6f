/** A table that is brought up to date row by row: what has not changed stays, and with it the focus. */

import { make } from "./dom.js"

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {{id: string, bad?: boolean, cells: Child[]}} Row */

export class Table {
  /** @type {Map<string, {element: HTMLTableRowElement, key: string}>} */
  #rows = new Map()
  #body = make("tbody")

  /**
   * @param {string} caption  for who hears the page
   * @param {string[]} heads  "" over buttons
   */
  constructor(caption, heads) {
    this.heads = heads
    const row = make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head || make("span", { class: "unseen" }, "Actions"))))
    const table = make("table", {}, make("caption", { class: "unseen" }, caption), make("thead", {}, row), this.#body)
    this.element = make("div", { class: "panel tabled", hidden: true, tabindex: 0, role: "region", "aria-label": caption }, table)
  }

  /** @param {Row[]} rows */
  show(rows) {
    const wanted = new Set(rows.map(({ id }) => id))
    for (const [id, { element }] of this.#rows) {
      if (wanted.has(id)) continue
      element.remove()
      this.#rows.delete(id)
    }
    rows.forEach((row, index) => this.#place(row, index))
    this.element.hidden = rows.length === 0
  }

  /**
   * @param {Row} row
   * @param {number} index
   */
  #place({ id, bad = false, cells }, index) {
    const element = make("tr", { "data-bad": bad }, ...cells.map((cell, place) => make("td", { "data-head": this.heads[place] || null }, cell)))
    const key = element.outerHTML
    const before = this.#rows.get(id)
    if (before?.key === key) return
    if (before) this.#renew(before.element, element)
    else this.#body.insertBefore(element, this.#body.children[index] ?? null)
    this.#rows.set(id, { element: before?.element ?? element, key })
  }

  /**
   * Cell by cell: a load that is another one every few seconds takes no link from under a finger.
   * @param {HTMLTableRowElement} row
   * @param {HTMLTableRowElement} wanted
   */
  #renew(row, wanted) {
    row.toggleAttribute("data-bad", wanted.hasAttribute("data-bad"))
    const cells = [...wanted.cells]
    for (const [place, before] of [...row.cells].entries()) {
      if (before.outerHTML === cells[place].outerHTML) continue
      const held = before.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null
      before.replaceWith(cells[place])
      if (held) [...cells[place].querySelectorAll("a")].find((link) => link.getAttribute("href") === held)?.focus()
    }
  }
}
