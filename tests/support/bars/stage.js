/** What tests of the elements find on `window`: the elements, a client driven by hand, jobs. */

import "../../../frontend/src/define-list.js"
import "../../../frontend/src/drawing.js" // there before the first bar, as on the pages of the API
import { Problem } from "../../../frontend/src/http.js"
import { at, drawn, Hand, job } from "./hand.js"

Object.assign(window, { at, drawn, hand: new Hand(), job, Problem })

/** Put an element on the page. */
window.put = async (tag, attributes = {}, inside = "") => {
  const element = document.createElement(tag)
  element.client = window.hand
  element.innerHTML = inside
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  document.querySelector("#root").append(element)
  await drawn()
  return (window.element = element)
}

/** What a part of it says. */
window.says = (name, element = window.element) => element.shadowRoot.getElementById(name).textContent

/** How much of the track is filled, in percent: what is seen, not what is meant. */
window.filled = (element = window.element) => {
  const track = element.shadowRoot.getElementById("track").getBoundingClientRect()
  const fill = element.shadowRoot.getElementById("fill").getBoundingClientRect()
  return (100 * Math.max(0, Math.min(fill.right, track.right) - Math.max(fill.left, track.left))) / track.width
}

/** What a region says from now on, in order. */
window.listen = (region) => {
  const heard = []
  const changes = { childList: true, characterData: true, subtree: true }
  new MutationObserver(() => heard.push(region.textContent)).observe(region, changes)
  return heard
}

/** A job that has ended badly, as an update. */
window.failed = (fields = {}) => ({ job: at(40, { status: "failed", done: true, ...fields }), connection: "ended" })

/** The bars of a list, from top to bottom. */
window.bars = () => [...element.shadowRoot.querySelectorAll("milepost-progress")]

window.staged = true
