import assert from "node:assert/strict"
import test from "node:test"
import { readJob } from "../src/job.js"
import { describe } from "../src/view.js"

/** @param {Record<string, any>} [fields] @param {Partial<import("../src/watch.js").Update>} [update] @param {any} [times] */
function view(fields = {}, update = {}, times = {}) {
  const job = readJob({ id: "J", task: "demo.count", ...fields })
  return describe({ job, connection: "live", problem: null, ...update }, times)
}
const RUNNING = { status: "running", attempt: 1 }
const HALF = { current: 5, total: 10, unit: "rows", percent: 50, rate: 2, eta_seconds: 90, message: "importing" }

test("a running job says how far it is, how fast, and how long it takes still", () => {
  const { tone, status, value, percent, count, rate, time, message } = view({ ...RUNNING, progress: HALF })
  assert.deepEqual(
    [tone, status, value, percent, count, rate, time, message],
    ["running", "Running", 50, "50%", "5 of 10 rows", "2.0 rows/s", "2 min left", "importing"],
  )
})

test("the time left goes by while nothing is reported", () => {
  assert.equal(view({ ...RUNNING, progress: HALF }, {}, { age: 80 }).time, "10 s left")
  assert.equal(view({ ...RUNNING, progress: HALF }, {}, { age: 95 }).time, "")
})

test("a bar of unknown length has no value, a waiting one has none of it", () => {
  assert.equal(view(RUNNING).value, null)
  assert.equal(view({ status: "queued" }).value, 0)
})

test("a failed bar stays where it stood, and says why", () => {
  const error = { code: "exception", type: "ValueError", message: "no such row" }
  const { tone, value, percent, message, rate } = view({ status: "failed", done: true, error, progress: HALF })
  assert.deepEqual([tone, value, percent, message, rate], ["failed", 50, "50%", "no such row", ""])
})

test("success is the whole bar, even of a job that never counted", () => {
  const times = { started_at: "2026-11-21T08:00:00Z", finished_at: "2026-11-21T08:00:05Z" }
  const { value, percent, time } = view({ status: "succeeded", done: true, ...times })
  assert.deepEqual([value, percent, time], [100, "100%", "took 5.0 s"])
})

test("a silent worker is told apart from a lost connection", () => {
  const silent = view({ ...RUNNING, stalled: true, progress: HALF })
  assert.deepEqual([silent.tone, silent.status, silent.rate, silent.trouble], ["troubled", "No word from the worker", "", ""])
  const lost = view(RUNNING, { connection: "reconnecting" })
  assert.deepEqual([lost.tone, lost.status, lost.trouble], ["running", "Running", "The connection was lost. Trying again."])
})

test("a connection that is back at once was no trouble", () => {
  assert.equal(view(RUNNING, { connection: "reconnecting" }, { lost: 1 }).trouble, "")
  assert.notEqual(view(RUNNING, { connection: "reconnecting" }, { lost: 2 }).trouble, "")
})

test("a job that waits says for what", () => {
  const now = Date.parse("2026-11-21T08:00:00Z")
  const run_at = "2026-11-21T08:02:00Z"
  assert.equal(view({ status: "queued" }).status, "Waiting for a worker")
  assert.equal(view({ status: "queued", queue_position: 4 }).status, "Waiting: 4th in line")
  assert.equal(view({ status: "retrying", queue_position: 1 }).status, "Trying again: 1st in line")
  assert.equal(view({ status: "scheduled", run_at }, {}, { now }).status, "Scheduled in 2 min")
  assert.equal(view({ status: "retrying", run_at }, {}, { now: now + 200_000 }).status, "Trying again")
  assert.equal(view({ ...RUNNING, cancel_requested: true }).status, "Cancelling")
})

test("a job that nobody can take says what to do, to eyes and to ears", () => {
  const waiting = { reason: "no_worker_for_task", message: "No worker offers it; start one." }
  const stuck = view({ status: "queued", queue_position: 1, waiting })
  assert.deepEqual(
    [stuck.tone, stuck.status, stuck.message, stuck.state],
    ["troubled", "Waiting for a worker", waiting.message, `Waiting for a worker: ${waiting.message}`],
  )
  const busy = view({ status: "queued", queue_position: 2, waiting: { reason: "workers_busy", message: "Busy." } })
  assert.deepEqual([busy.tone, busy.message, busy.state], ["queued", "Busy.", "Waiting for a worker"])
})

test("what counts down is not read out at every step", () => {
  const now = Date.parse("2026-11-21T08:00:00Z")
  const run_at = "2026-11-21T08:02:00Z"
  assert.equal(view({ status: "scheduled", run_at }, {}, { now }).state, "Scheduled")
})

test("the attempt is told from the second on, the step with its place", () => {
  const step = { key: "import", name: "Import", index: 2, count: 4 }
  const shown = view({ ...RUNNING, attempt: 2, max_attempts: 3, progress: { ...HALF, step } })
  assert.deepEqual([shown.attempt, shown.step], ["attempt 2 of 3", "2/4 Import"])
  assert.equal(view(RUNNING).attempt, "")
})

test("a status of a newer server is shown by its name", () => {
  assert.equal(view({ status: "paused" }).status, "Paused")
  assert.deepEqual([view({ status: "archived", done: true }).tone, view({ status: "archived", done: true }).value], ["archived", 0])
})

test("a job that cannot be had says why", () => {
  const shown = describe({ job: null, connection: "refused", problem: "There is no such job." })
  assert.deepEqual([shown.status, shown.trouble, shown.value], ["Not available", "There is no such job.", 0])
})

test("a job that may no longer be followed stays as it was last seen, and says why", () => {
  const shown = view({ ...RUNNING, progress: HALF }, { connection: "refused", problem: "The token has expired." })
  assert.deepEqual([shown.status, shown.trouble, shown.value], ["Running", "The token has expired.", 50])
})

test("before the first word the bar has no value, and says that it connects", () => {
  const shown = describe({ job: null, connection: "connecting", problem: null })
  assert.deepEqual([shown.status, shown.value, shown.valueText], ["Connecting", null, ""])
})

test("a bar says of itself how far it is in percent and in what is counted; one of unknown length says nothing", () => {
  assert.equal(view({ ...RUNNING, progress: HALF }).valueText, "50%, 5 of 10 rows")
  assert.equal(view({ ...RUNNING, progress: { percent: 33.9 } }).valueText, "33%")
  assert.equal(view({ ...RUNNING, progress: { current: 7, unit: "rows" } }).valueText, "")
})

test("a job that does another one again says so", () => {
  assert.equal(view({ ...RUNNING, retry_of: "OTHER" }).attempt, "started again")
  assert.equal(view({ ...RUNNING, retry_of: "OTHER", attempt: 2, max_attempts: 3 }).attempt, "attempt 2 of 3")
})
