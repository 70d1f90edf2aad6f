/** The fields of a task's params, made from its JSON Schema. */

import { choiceText, fieldsOf, HIDDEN, holdsHidden, initialText, isOpen, readField } from "../src/schema.js"
import { make, prose } from "./dom.js"

/** @typedef {import("../src/schema.js").Field} Field */
/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */

/** For a task that takes any params: one field for all of them. */
const ALL = /** @type {Field} */ ({
  name: "params",
  kind: "json",
  secret: false,
  required: false,
  nullable: false,
  fallback: undefined,
  description: "This task takes any params: a JSON object.",
  choices: [],
  min: null,
  max: null,
})

export class Form {
  /** @type {Map<string, {field: Field, control: Control, problem: HTMLElement}>} */
  #rows = new Map()

  /**
   * @param {HTMLElement} place
   * @param {Record<string, any>} schema
   */
  constructor(place, schema) {
    this.open = isOpen(schema) && schema.type === "object"
    const fields = this.open ? [ALL] : fieldsOf(schema)
    place.replaceChildren(...fields.map((field) => this.#row(field)))
  }

  /**
   * What was typed, as params; null when something cannot be read, which is then said beside it.
   * @param {{quiet?: boolean}} [options]  `quiet`: say nothing
   * @returns {Record<string, unknown> | null}
   */
  read({ quiet = false } = {}) {
    /** @type {Record<string, any>} */
    const params = {}
    let readable = true
    for (const [name, { field, control }] of this.#rows) {
      const reading = control.validity.badInput ? { problem: "This should be a number." } : readField(field, textOf(control))
      if ("value" in reading) params[name] = reading.value
      if ("problem" in reading) readable = false
      if (!quiet) this.complain(name, "problem" in reading ? reading.problem : "")
    }
    if (!readable) return null
    return this.open ? (params.params ?? {}) : params
  }

  /**
   * Say what is wrong with a field, beside it.
   * @param {string} name
   * @param {string} sentence  "" when nothing is
   * @returns {boolean} whether there is such a field
   */
  complain(name, sentence) {
    const row = this.#rows.get(this.open ? "params" : name)
    if (!row) return false
    row.problem.textContent = sentence
    if (sentence) row.control.setAttribute("aria-invalid", "true")
    else row.control.removeAttribute("aria-invalid")
    return true
  }

  /** Go to the first field that something is wrong with. */
  focusProblem() {
    for (const { control } of this.#rows.values()) {
      if (control.hasAttribute("aria-invalid")) return control.focus()
    }
  }

  /**
   * Type params in, as another job had them. Secrets are not known: their fields stay empty.
   * @param {Record<string, unknown>} params
   */
  fill(params) {
    const given = this.open ? { params } : params
    for (const [name, value] of Object.entries(given)) {
      const row = this.#rows.get(name)
      if (!row || row.field.secret) continue
      const { field, control } = row
      if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = value === true
      else control.value = initialText({ ...field, fallback: value })
      if (holdsHidden(value)) this.complain(name, `A secret is not told again: type it in place of ${HIDDEN}.`)
    }
  }

  /** @param {Field} field */
  #row(field) {
    const id = `param-${field.name}`
    const control = controlFor(field, id)
    const problem = make("p", { class: "problem", id: `${id}-problem`, role: "alert" })
    const hint = make("p", { class: "hint", id: `${id}-hint` }, ...prose(hintFor(field)))
    const label = make("label", { for: id }, field.name, ...(field.required ? [make("span", { class: "mark" }, "required")] : []))
    control.setAttribute("aria-describedby", `${id}-hint ${id}-problem`)
    this.#rows.set(field.name, { field, control, problem })
    const checkbox = field.kind === "boolean"
    const wide = field.kind === "json" || (field.kind === "text" && field.required) || field.description.length > 40
    const kind = `field${checkbox ? " check" : ""}${wide ? " wide" : ""}`
    return make("div", { class: kind }, ...(checkbox ? [control, label] : [label, control]), hint, problem)
  }
}

/**
 * @param {Field} field
 * @param {string} id
 * @returns {Control}
 */
function controlFor(field, id) {
  const common = { id, name: field.name, "aria-required": field.required && "true", autocomplete: "off" }
  const text = initialText(field)
  if (field.kind === "choice") return choiceFor(field, common, text)
  if (field.kind === "json") return make("textarea", { ...common, rows: 3, spellcheck: "false" }, text)
  if (field.kind === "boolean") return make("input", { ...common, type: "checkbox", checked: field.fallback === true })
  // "new-password": an "off" is ignored for passwords, and the one of this site is not meant.
  if (field.secret) return make("input", { ...common, type: "password", autocomplete: "new-password" })
  if (field.kind === "text") return make("input", { ...common, type: "text", value: text, spellcheck: "false" })
  const { min, max } = field
  const step = field.kind === "integer" ? 1 : "any"
  return make("input", { ...common, type: "number", value: text, min, max, step, inputmode: "decimal" })
}

/**
 * @param {Field} field
 * @param {Record<string, any>} common
 * @param {string} text
 */
function choiceFor(field, common, text) {
  const unset = field.fallback === undefined && !field.required
  const options = field.choices.map((value) => {
    const name = value === null ? "none" : String(value)
    return make("option", { value: choiceText(value), selected: choiceText(value) === text }, name)
  })
  if (unset) options.unshift(make("option", { value: "" }, "not set"))
  return make("select", common, ...options)
}

/** @param {Field} field */
function hintFor(field) {
  if (field.description) return field.description
  if (field.kind === "json") return "JSON"
  const { min, max } = field
  if (min !== null && max !== null) return `${min} to ${max.toLocaleString("en")}`
  if (min !== null) return `at least ${min}`
  if (max !== null) return `at most ${max.toLocaleString("en")}`
  return field.required || field.kind === "boolean" || (field.fallback ?? null) !== null ? "" : "optional"
}

/** @param {Control} control */
function textOf(control) {
  return control instanceof HTMLInputElement && control.type === "checkbox" ? String(control.checked) : control.value
}
