/** The fields above the list of jobs. What they say stands in the address. */

import { button, hide, make, write } from "./dom.js"
import { isEmpty, SHORTEST } from "./filters.js"

/** @typedef {import("./filters.js").Filter} Filter */

const PAUSE_MS = 250
const FIELDS = /** @type {const} */ (["task", "queue", "tag", "batch"])

export class FilterBar {
  /** @type {Record<string, HTMLInputElement>} */
  #inputs = {}
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  #typing = false
  #hint = make("p", { class: "hint", role: "status" })
  /** On a narrow screen the list comes first. */
  #narrower = button("More filters", () => this.#open(this.element.dataset.open !== "true"), { class: "quiet edged narrower", "aria-expanded": "false" })
  #clear = make("a", { href: "#/jobs", class: "clear", hidden: true }, "Clear filters")

  /** @param {(filter: Partial<Filter>, how: {replace: boolean}) => void} changed */
  constructor(changed) {
    this.changed = changed
    const search = this.#field("q", "Search", { type: "search", placeholder: "Search id, task, tag, error …", maxlength: 200 })
    const fields = FIELDS.map((name) => this.#field(name, name[0].toUpperCase() + name.slice(1), { type: "text", list: `known-${name}` }))
    const lists = FIELDS.map((name) => make("datalist", { id: `known-${name}` }))
    this.element = make("form", { class: "filters", role: "search", "aria-label": "Filter the jobs" }, search, this.#narrower, ...fields, this.#clear, ...lists, this.#hint)
    this.element.addEventListener("input", () => this.#later())
    this.element.addEventListener("change", () => this.#tell()) // on the way to a button that is about what is shown
    this.element.addEventListener("submit", (event) => {
      event.preventDefault()
      this.#tell()
    })
  }

  /**
   * @param {string} name
   * @param {string} label
   * @param {Record<string, string | number>} attributes
   */
  #field(name, label, attributes) {
    const input = make("input", { id: `filter-${name}`, name, autocomplete: "off", spellcheck: "false", placeholder: "any", ...attributes })
    this.#inputs[name] = input
    return make("div", { class: `filter ${name}` }, make("label", { for: input.id }, label), input)
  }

  /** @param {Filter} filter  as the address says it */
  show(filter) {
    for (const [name, input] of Object.entries(this.#inputs)) {
      const text = filter[/** @type {"q"} */ (name)]
      if (input.value.trim() !== text) input.value = text
    }
    hide(this.#clear, isEmpty(filter), this.#inputs.q)
    if (FIELDS.some((name) => filter[name])) this.#open(true)
    write(this.#hint, filter.q && filter.q.length < SHORTEST ? `Text is found by ${SHORTEST} characters or more.` : "")
  }

  /**
   * What can be chosen, for who does not know the words.
   * @param {"task" | "queue"} name
   * @param {string[]} words
   */
  offer(name, words) {
    this.element.querySelector(`#known-${name}`)?.replaceChildren(...words.map((value) => make("option", { value })))
  }

  /** @param {boolean} open */
  #open(open) {
    this.element.dataset.open = String(open)
    this.#narrower.setAttribute("aria-expanded", String(open))
  }

  close() {
    clearTimeout(this.#timer)
  }

  #later() {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#tell(), PAUSE_MS)
  }

  /** One entry of the history for what was typed in one go, however many letters. */
  #tell() {
    clearTimeout(this.#timer)
    const typed = Object.entries(this.#inputs).map(([name, input]) => [name, input.value.trim()])
    this.changed(Object.fromEntries(typed), { replace: this.#typing })
    this.#typing = true
    this.element.addEventListener("focusout", () => (this.#typing = false), { once: true })
  }
}
