/** Asking who is there, where the server wants a key. */

import { make } from "./dom.js"

export class Access {
  #input = make("input", { id: "credential", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "access-problem" })
  #problem = make("p", { class: "problem", id: "access-problem", role: "alert" })

  /** @param {(credential: string) => void} given */
  constructor(given) {
    const field = make("div", { class: "field" }, make("label", { for: "credential" }, "API key or token"), this.#input, this.#problem)
    const says = "It is kept in this tab and forgotten when the tab is closed. A stream token shows what it reads, without anything to press."
    const form = make("form", { class: "panel" }, make("h1", { tabindex: -1 }, "This server wants a key"), field, make("p", { class: "hint" }, says), make("button", { class: "primary" }, "Open"))
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      const credential = this.#input.value.trim()
      if (credential) given(credential)
      else this.refuse("Type a key, or paste a token.")
    })
    this.element = make("section", { class: "access" }, form)
  }

  /** @param {string} why  what the server said of the one before; "" for nothing */
  refuse(why) {
    this.#problem.textContent = why
    this.#input.toggleAttribute("aria-invalid", false)
    if (why) this.#input.setAttribute("aria-invalid", "true")
  }

  focus() {
    this.#input.focus()
    this.#input.select()
  }
}
