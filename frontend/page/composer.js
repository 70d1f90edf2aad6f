/** Choosing a task, filling in its params, starting it. */

import { Problem } from "../src/http.js"
import { redacted } from "../src/schema.js"
import { followCommand, submitCommand } from "./curl.js"
import { button, make, prose, write } from "./dom.js"
import { Form } from "./form.js"
import { href } from "./router.js"

/** @typedef {import("../src/client.js").TaskInfo} TaskInfo */

export class NewView {
  title = "New job"
  /** @type {Form | null} */
  #form = null
  #shown = ""
  /** @type {string} the task that the address or another job asks for: it may come here before its worker is known of */
  #wanted = ""
  #task = make("select", { id: "task", "aria-describedby": "task-about", disabled: true })
  #button = make("button", { class: "primary", id: "submit", disabled: true }, "Start")
  #about = make("p", { class: "hint", id: "task-about" })
  #fields = make("div", { class: "fields", id: "fields" })
  #problem = make("p", { class: "problem", id: "form-problem", role: "alert" })
  #curl = make("code", { id: "curl" })
  /** @type {string} the job whose params the form began with */
  #from = ""

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app
    const chosen = make("div", { class: "field" }, make("label", { for: "task" }, "Task"), this.#task, this.#about)
    const form = make("form", { id: "composer", novalidate: true, class: "panel" }, chosen, this.#fields, this.#problem, this.#button)
    const pre = make("pre", { tabindex: 0, "aria-label": "Commands" }, this.#curl)
    const copying = button("Copy", (event) => copy(this.#curl, /** @type {HTMLElement} */ (event.currentTarget)), { id: "copy" })
    const terminal = make("section", { class: "panel terminal" }, make("h2", {}, "The same from a terminal"), pre, copying)
    const head = make("div", { class: "head" }, make("h1", { tabindex: -1 }, "New job"))
    this.element = make("section", { class: "new" }, head, make("div", { class: "halves" }, form, terminal))
    this.#task.addEventListener("change", () => app.go(href("new", "", { task: this.#task.value }), { replace: true }))
    form.addEventListener("input", () => this.#teach())
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      this.#submit()
    })
    this.unsubscribe = app.known.subscribe(() => this.#offer())
  }

  /** @param {import("./router.js").Route} route */
  async show({ query }) {
    const from = query.get("from") ?? ""
    this.#wanted = query.get("task") ?? this.#wanted
    if (from && from !== this.#from) await this.#beginWith(from)
    this.#offer()
  }

  close() {
    this.unsubscribe()
  }

  #offer() {
    const wanted = this.#wanted || this.#task.value || this.app.known.example().name
    const names = [...this.app.known.tasks.keys()]
    const options = [...this.#task.options].map(({ value }) => value)
    if (options.join() !== names.join()) this.#task.replaceChildren(...names.map((name) => make("option", {}, name)))
    if (names.includes(wanted)) this.#task.value = wanted
    this.#task.disabled = this.#button.disabled = names.length === 0
    this.#choose()
    if (names.length && this.#wanted && !names.includes(this.#wanted)) {
      write(this.#problem, `No worker has offered ${this.#wanted}: this form is of another task.`)
    }
  }

  #choose() {
    const task = this.app.known.tasks.get(this.#task.value)
    this.#describe(task)
    if (this.#shown !== (task?.name ?? "")) {
      this.#problem.textContent = ""
      this.#button.textContent = task ? `Start ${task.name}` : "Start"
      this.#form = task ? new Form(this.#fields, task.params_schema) : null
      this.#shown = task?.name ?? ""
    }
    this.#teach()
  }

  /**
   * Fill the form with what another job was asked to do.
   * @param {string} id
   */
  async #beginWith(id) {
    this.#from = id
    try {
      const [{ task }, { params }] = await Promise.all([this.app.client.get(id), this.app.ask.details(id)])
      await this.app.known.read()
      this.#wanted = task
      this.#offer()
      if (params && this.#task.value === task) this.#form?.fill(params)
      this.#teach()
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.app.failed(error)
    }
  }

  /** @param {TaskInfo | undefined} task */
  #describe(task) {
    const words = "No worker has offered a task yet. Start one with `milepost worker MODULE` and its tasks appear here."
    const about = task ? firstParagraph(task.description) : words
    const absent = task?.workers === 0 ? " No running worker offers it at the moment: its jobs would wait." : ""
    if (this.#about.dataset.said === about + absent) return
    this.#about.dataset.said = about + absent
    this.#about.replaceChildren(...prose(about + absent))
  }

  /** Keep the commands for a terminal in step with the form. */
  #teach() {
    const task = this.#task.value || this.app.known.example().name
    const params = this.#form?.read({ quiet: true }) ?? {}
    const schema = this.app.known.tasks.get(task)?.params_schema ?? {}
    const submit = submitCommand(this.app.client.url("v1/jobs"), task, redacted(params, schema))
    // Only what differs: it is written every few seconds, and somebody may be about to copy it.
    write(this.#curl, `${submit}\n\n${followCommand(this.app.client.streamUrl("ID")).replace("/ID/", "/$ID/")}`)
  }

  async #submit() {
    if (this.#button.ariaDisabled === "true") return
    this.#problem.textContent = ""
    const params = this.#form?.read()
    if (!params) return this.#form?.focusProblem()
    this.#button.ariaDisabled = "true" // not `disabled`, which would throw the focus away
    try {
      const job = await this.app.client.submit(this.#task.value, params)
      this.app.go(href("jobs", job.id))
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      if (error.status === 401) this.app.failed(error)
      else this.#complain(error)
    } finally {
      this.#button.ariaDisabled = "false"
    }
  }

  /**
   * Each sentence stands beside the field it is about; what is about none stands above the button.
   * @param {Problem} problem
   */
  #complain(problem) {
    const homeless = problem.items.filter(({ path, detail }) => {
      const name = /^\$\.params\.([^.[]+)/.exec(path)?.[1]
      return name === undefined || !this.#form?.complain(name, detail)
    })
    const sentences = problem.items.length ? homeless.map(({ path, detail }) => `${path}: ${detail}`) : [problem.message]
    this.#problem.textContent = sentences.join(" ")
    this.#form?.focusProblem()
  }
}

/** @param {string} text  a docstring */
export function firstParagraph(text) {
  return text.split(/\n\s*\n/)[0].replaceAll(/\s+/g, " ")
}

/**
 * @param {HTMLElement} source
 * @param {HTMLElement} pressed
 */
async function copy(source, pressed) {
  try {
    await navigator.clipboard.writeText(source.textContent ?? "")
    pressed.textContent = "Copied"
  } catch {
    getSelection()?.selectAllChildren(source) // no clipboard on plain HTTP: one keystroke is left
    pressed.textContent = "Selected"
  }
  setTimeout(() => (pressed.textContent = "Copy"), 2000)
}
