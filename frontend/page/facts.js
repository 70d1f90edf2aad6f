/** What is known of a job beside its progress: the list at the side, its steps, its outcome. */

import { number } from "../src/format.js"
import { make, prose } from "./dom.js"
import { queryOf } from "./filters.js"
import { href, jobLink } from "./router.js"
import { span, when } from "./times.js"

/** @typedef {import("../src/job.js").Job} Job */
/** @typedef {import("./dom.js").Child} Child */

/**
 * @param {Job} job
 * @param {{timeout_seconds: number | null} | null} details
 * @returns {HTMLElement[]} the terms and what they are
 */
export function facts(job, details) {
  /** @type {[string, Child | Child[]][]} */
  const told = [
    ["Task", filtered({ task: job.task }, job.task)],
    ["Queue", [filtered({ queue: job.queue }, job.queue), job.priority ? ` priority ${job.priority}` : ""]],
    ["Tags", job.tags.flatMap((tag) => [filtered({ tag }, tag), " "])],
    ["Batch", job.batch_id && filtered({ batch: job.batch_id }, job.batch_id)],
    ["Attempt", job.attempt ? `${job.attempt} of ${job.max_attempts}` : `none yet, ${job.max_attempts} allowed`],
    ["Time limit", details?.timeout_seconds ? `${number(details.timeout_seconds)} s an attempt` : null],
    ["Accepted", when(job.created_at)],
    ["Due", job.run_at && when(job.run_at)],
    ["Started", [when(job.started_at), job.started_at && ` after ${span(job.created_at, job.started_at)}`]],
    ["Ended", [when(job.finished_at), job.finished_at && job.started_at && ` took ${span(job.started_at, job.finished_at)}`]],
    ["Retry of", job.retry_of && jobLink(job.retry_of)],
    ["Parent", job.parent_id && jobLink(job.parent_id)],
    ["Metadata", Object.keys(job.metadata).length > 0 && make("code", {}, JSON.stringify(job.metadata))],
    ["Id", make("code", {}, job.id)],
  ]
  return told.flatMap(([term, what]) => {
    const shown = [what].flat().filter(Boolean)
    return shown.length ? [make("div", {}, make("dt", {}, term), make("dd", {}, ...shown))] : []
  })
}

/**
 * @param {Partial<import("./filters.js").Filter>} filter
 * @param {string} text
 */
function filtered(filter, text) {
  return make("a", { href: href("jobs", "", queryOf(filter)), title: "All jobs with this" }, text)
}

/**
 * @param {Job} job
 * @returns {HTMLElement[]}
 */
export function steps({ progress }) {
  return progress.steps.map(({ name, status, percent }) =>
    make(
      "li",
      { "data-status": status },
      make("span", { class: "name" }, name),
      make("progress", { max: 100, value: status === "done" || status === "succeeded" ? 100 : (percent ?? 0), "aria-label": name }),
      make("span", { class: "hint" }, percent === null ? status : `${Math.floor(percent)}%`),
    ),
  )
}

/**
 * @param {Job} job
 * @param {URL | null} resultUrl  null where it cannot be followed
 * @param {() => void} fetchResult  shows the whole of a result that is too large to be here
 * @returns {Child[]}
 */
export function outcome(job, resultUrl, fetchResult) {
  if (job.waiting) return [make("p", { class: "waits" }, ...prose(job.waiting.message))]
  if (job.error && job.status !== "cancelled") {
    const { type, message, code, attempt } = job.error
    const where = job.max_attempts > 1 ? `${code}, attempt ${attempt} of ${job.max_attempts}` : code
    return [make("p", { class: "error" }, make("strong", {}, type ?? "Error"), " ", message, " ", make("span", { class: "hint" }, where))]
  }
  if (job.result_omitted) {
    const open = make("button", { type: "button", class: "quiet edged" }, "Show the result")
    open.addEventListener("click", fetchResult)
    return [make("p", {}, "The result is too large to be told with the job. ", open, resultUrl && " ", resultUrl && make("a", { href: resultUrl.href }, "Open its address"))]
  }
  return job.status === "succeeded" ? [json("Result", job.result)] : []
}

/**
 * @param {string} label
 * @param {unknown} value
 */
export function json(label, value) {
  return make("pre", { tabindex: 0, "aria-label": label }, make("code", {}, JSON.stringify(value, null, 2)))
}
