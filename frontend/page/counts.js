/** How many jobs there are in each status: a number to read, and a filter to press. */

import { number } from "../src/format.js"
import { make, write } from "./dom.js"
import { queryOf, STATUSES } from "./filters.js"
import { href } from "./router.js"

/** @typedef {import("./filters.js").Filter} Filter */

/** @type {Record<string, string>} */
export const WORDS = {
  scheduled: "Scheduled",
  queued: "Waiting",
  running: "Running",
  retrying: "Trying again",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Expired",
}

export class Counts {
  /** @type {Map<string, {link: HTMLAnchorElement, figure: HTMLElement}>} "" is for all */
  #cells = new Map()

  constructor() {
    const cells = ["", ...STATUSES].map((status) => {
      const figure = make("span", { class: "figure" }, "–")
      const link = make("a", { "data-status": status || "all" }, figure, make("span", { class: "word" }, WORDS[status] ?? "All"))
      this.#cells.set(status, { link, figure })
      return make("li", {}, link)
    })
    this.element = make("ul", { class: "counts", "aria-label": "Jobs by status" }, ...cells)
  }

  /** @param {Filter} filter  pressed again, a status is let go */
  point(filter) {
    for (const [status, { link }] of this.#cells) {
      const on = status ? filter.status.includes(status) : filter.status.length === 0
      const wanted = !status || (on && filter.status.length === 1) ? [] : [status]
      link.href = href("jobs", "", queryOf({ ...filter, status: wanted }))
      if (on) link.setAttribute("aria-current", "true")
      else link.removeAttribute("aria-current")
    }
  }

  /**
   * @param {Record<string, number>} byStatus
   * @param {string[]} [capped]  of these there are at least so many
   */
  show(byStatus, capped = []) {
    let total = 0
    for (const status of STATUSES) {
      const count = byStatus[status] ?? 0
      total += count
      this.#write(status, count, capped.includes(status))
    }
    this.#write("", total, capped.length > 0)
  }

  /**
   * @param {string} status
   * @param {number} count
   * @param {boolean} capped
   */
  #write(status, count, capped) {
    const { figure, link } = /** @type {{link: HTMLElement, figure: HTMLElement}} */ (this.#cells.get(status))
    write(figure, number(count) + (capped ? "+" : ""))
    link.dataset.none = String(count === 0)
  }
}
