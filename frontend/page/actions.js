/** What can be done to one job, each asked for once more where it cannot be undone. */

import { Problem } from "../src/http.js"
import { button } from "./dom.js"
import { confirmed } from "./confirm.js"

/** @typedef {import("../src/client.js").Milepost} Milepost */
/** @typedef {import("../src/job.js").Job} Job */
/** @typedef {import("./app.js").App} App */
/** @typedef {"cancel" | "retry" | "delete"} Action */

/** @type {Record<Action, string>} */
export const LABELS = { cancel: "Cancel", retry: "Run again", delete: "Delete" }

/**
 * @param {Job} job
 * @returns {Action[]} the likeliest first
 */
export function possible(job) {
  if (!job.done) return ["cancel"]
  return ["retry", "delete"]
}

/** @param {Job} job */
export function whatCancelDoes({ status, attempt }) {
  if (status === "running") return "Its worker is asked to stop. What it has done so far stays done."
  return attempt ? "It will not be tried again. What it has done so far stays done." : "It has not begun, and will not."
}

/** @type {Record<Action, (job: Job) => Parameters<typeof confirmed>[0]>} */
const QUESTIONS = {
  cancel: (job) => ({
    title: `Cancel ${job.task}?`,
    says: [whatCancelDoes(job)],
    yes: "Cancel the job",
    no: "Let it go on",
  }),
  retry: (job) => ({
    title: `Run ${job.task} again?`,
    says: ["A new job is submitted with the same params. This one stays as it is."],
    yes: "Run again",
    no: "Not now",
    harmful: false,
  }),
  delete: (job) => ({
    title: `Delete this ${job.task}?`,
    says: ["The job, its history and its result are forgotten. This cannot be undone."],
    yes: "Delete the job",
  }),
}

/**
 * Ask, do it, and say what came of it.
 * @param {App} app
 * @param {Action} action
 * @param {Job} job
 * @returns {Promise<Job | boolean>} the new job of a retry, true for the rest; false when it was not done
 */
export async function act(app, action, job) {
  if (!(await confirmed(QUESTIONS[action](job)))) return false
  try {
    return await DEEDS[action](app, job)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    app.failed(error, `${LABELS[action]}: `)
    return false
  }
}

/** @type {Record<Action, (app: App, job: Job) => Promise<Job | boolean>>} */
const DEEDS = {
  async cancel(app, job) {
    const outcome = await app.client.cancel(job.id)
    app.say(outcome === "already_done" ? `${job.task} had ended already.` : `${job.task} is being cancelled.`)
    return true
  },
  async retry(app, job) {
    const again = await app.client.retry(job.id)
    app.say(`${job.task} runs again.`, { link: again.id })
    return again
  },
  async delete(app, job) {
    await app.client.delete(job.id)
    app.live.forget(job.id)
    app.say(`${job.task} is deleted.`)
    return true
  },
}

/**
 * @param {App} app
 * @param {Action} action
 * @param {() => Job | null} job
 * @param {(done: Job | true) => void} [then]
 */
export function actionButton(app, action, job, then = () => {}) {
  return button(LABELS[action], async ({ currentTarget }) => {
    if (/** @type {HTMLElement} */ (currentTarget).ariaDisabled === "true") return
    const about = job()
    const done = about && (await act(app, action, about))
    if (done) then(done)
  }, { class: "quiet edged" })
}
