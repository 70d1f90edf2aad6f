/** Choosing a task, filling in its params, starting it. */

import { Problem } from "../src/http.js"
import { redacted } from "../src/schema.js"
import { followCommand, submitCommand } from "./curl.js"
import { get, make, prose } from "./dom.js"
import { Form } from "./form.js"

/** @typedef {import("../src/client.js").Client} Client */
/** @typedef {import("../src/client.js").TaskInfo} TaskInfo */
/** @typedef {import("../src/job.js").Job} Job */

const FIRST = "demo.count"

export class Composer {
  /** @type {TaskInfo[]} */
  #tasks = []
  /** @type {Form | null} */
  #form = null
  #shown = ""
  #task = /** @type {HTMLSelectElement} */ (get("#task"))
  #button = /** @type {HTMLButtonElement} */ (get("#submit"))
  #about = get("#task-about")
  #problem = get("#form-problem")

  /**
   * @param {Client} client
   * @param {HTMLElement} form
   * @param {(job: Job) => void} started
   */
  constructor(client, form, started) {
    this.client = client
    this.started = started
    this.#task.addEventListener("change", () => this.#choose())
    form.addEventListener("input", () => this.#teach())
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      this.#submit()
    })
    get("#copy").addEventListener("click", (event) => copy(get("#curl"), /** @type {HTMLElement} */ (event.currentTarget)))
  }

  /** Read the catalogue; what was chosen and typed stays. */
  async load() {
    this.#tasks = await this.client.tasks()
    const wanted = this.#task.value || FIRST
    this.#task.replaceChildren(...this.#tasks.map(({ name }) => make("option", { selected: name === wanted }, name)))
    this.#task.disabled = this.#button.disabled = this.#tasks.length === 0
    this.#choose()
  }

  #choose() {
    const task = this.#tasks.find(({ name }) => name === this.#task.value)
    this.#describe(task)
    this.#problem.textContent = ""
    this.#button.textContent = task ? `Start ${task.name}` : "Start"
    if (task) {
      const typed = this.#shown === task.name ? this.#form?.texts() : undefined
      this.#form = new Form(get("#fields"), task.params_schema)
      if (typed) this.#form.retype(typed)
    }
    this.#shown = task?.name ?? ""
    this.#teach()
  }

  /** @param {TaskInfo | undefined} task */
  #describe(task) {
    if (!task) {
      const words = "No worker has offered a task yet. Start one with `milepost worker MODULE` and its tasks appear here."
      return this.#about.replaceChildren(...prose(words))
    }
    const [first] = task.description.split(/\n\s*\n/)
    const absent = task.workers === 0 ? " No running worker offers it at the moment: its jobs would wait." : ""
    this.#about.replaceChildren(...prose(first.replaceAll(/\s+/g, " ") + absent))
  }

  /** Keep the commands for a terminal in step with the form. */
  #teach() {
    const task = this.#task.value || FIRST
    const params = this.#form?.read({ quiet: true }) ?? {}
    const schema = this.#tasks.find(({ name }) => name === task)?.params_schema ?? {}
    const submit = submitCommand(this.client.url("v1/jobs"), task, redacted(params, schema))
    get("#curl").textContent = `${submit}\n\n${followCommand(this.client.streamUrl("ID")).replace("/ID/", "/$ID/")}`
    get("#empty-curl").textContent = submit
  }

  async #submit() {
    if (this.#button.ariaDisabled === "true") return
    this.#problem.textContent = ""
    const params = this.#form?.read()
    if (!params) return this.#form?.focusProblem()
    this.#button.ariaDisabled = "true" // not `disabled`, which would throw the focus away
    try {
      this.started(await this.client.submit(this.#task.value, params))
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.#complain(error)
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

/**
 * @param {HTMLElement} source
 * @param {HTMLElement} button
 */
async function copy(source, button) {
  try {
    await navigator.clipboard.writeText(source.textContent ?? "")
    button.textContent = "Copied"
  } catch {
    getSelection()?.selectAllChildren(source) // no clipboard on plain HTTP: one keystroke is left
    button.textContent = "Selected"
  }
  setTimeout(() => (button.textContent = "Copy"), 2000)
}
