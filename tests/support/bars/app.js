/** A React page on useJob, bundled for the tests: React comes as CommonJS, which no browser reads. */

import { createElement, StrictMode, useState } from "react"
import { createRoot, hydrateRoot } from "react-dom/client"
import { Bar } from "./bar.js"
import { at, Hand, job } from "./hand.js"

const hand = new Hand()

function Page() {
  const [id, follow] = useState("a")
  Object.assign(window, { follow })
  return id && createElement(Bar, { id, client: hand })
}

Object.assign(window, { at, hand, job })
const place = document.querySelector("#root")
const page = createElement(StrictMode, null, createElement(Page))
if (place.firstElementChild) window.root = hydrateRoot(place, page, { onRecoverableError: (error) => console.error(error) })
else (window.root = createRoot(place)).render(page)
