/** A component as docs/frontend.md shows it. */

import { createElement } from "react"
import { useJob } from "../../../frontend/src/react.js"

export function Bar({ id, client }) {
  const { job, connection, problem, cancel, retry } = useJob(id, { client })
  if (globalThis.window) Object.assign(window, { cancel, retry, renders: (window.renders ?? 0) + 1 })
  const words = [id, job?.status ?? "none", job?.progress.percent ?? "?", connection, problem ?? ""]
  return createElement("output", null, words.join(" "))
}
