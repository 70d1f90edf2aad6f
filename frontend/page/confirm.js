/** Asking before something is done that cannot be undone. */

import { get, make, prose } from "./dom.js"

/**
 * A real dialog: the rest of the page is out of reach, Escape says no, and the focus returns to where it was. While it
 * asks one thing, another is not asked: its words would stand under a finger that is on its way to the first.
 * @param {{title: string, says: (HTMLElement | string)[], yes: string, no?: string, harmful?: boolean}} about
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, says, yes, no = "Keep", harmful = true }) {
  const dialog = /** @type {HTMLDialogElement} */ (get("#confirm"))
  if (dialog.open) return Promise.resolve(false)
  const before = document.activeElement
  const agree = make("button", { value: "yes", class: harmful ? "harmful" : "primary" }, yes)
  const refuse = make("button", { value: "", class: "quiet edged", autofocus: true }, no)
  const words = says.map((one) => make("p", {}, ...(typeof one === "string" ? prose(one) : [one])))
  const form = make("form", { method: "dialog" }, make("h2", { id: "confirm-title" }, title), ...words)
  form.append(make("div", { class: "buttons" }, refuse, agree))
  dialog.replaceChildren(form)
  dialog.returnValue = ""
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        if (before instanceof HTMLElement && before.isConnected) before.focus()
        // Meanwhile it may have gone, or been hidden: then reading goes on at the top of the view.
        if (document.activeElement !== before) /** @type {HTMLElement | null} */ (document.querySelector("main h1"))?.focus()
        resolve(dialog.returnValue === "yes")
      },
      { once: true },
    )
  })
}
