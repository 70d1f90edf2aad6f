/** Transcripts of jobs, each up to the moment that is shown: the events as a stream of the API carries them. */

const AT = "2026-11-21T08:00:00.000Z"
const LATER = "2026-11-21T08:03:05.000Z"

/**
 * @param {string} task
 * @param {object} [job]
 */
function snapshot(task, job = {}) {
  return { type: "snapshot", seq: 1, at: AT, job: { id: "", task, version: 1, max_attempts: 3, created_at: AT, ...job } }
}

/** @param {number} attempt */
const running = (attempt = 1) => ({ type: "status", seq: 2, at: AT, status: "running", attempt })
/** @param {object} progress */
const progress = (progress, attempt = 1) => ({ type: "progress", seq: 9, at: AT, attempt, progress })
/** @param {string} status @param {object} rest */
const end = (status, rest) => ({ type: "end", seq: 10, at: LATER, status, attempt: 1, finished_at: LATER, ...rest })

const ROWS = { current: 340, total: 1000, unit: "rows", percent: 34, rate: 9.3, eta_seconds: 71 }
const STEPS = { step: { key: "import", name: "Import", index: 2, count: 4 }, message: "orders.csv" }
const ALL = { current: 1000, total: 1000, unit: "rows", percent: 100 }
const NO_WORKER = "No worker offers the task report.weekly. Start one: milepost worker app.reports"
const LONG = "Reading s3://warehouse/exports/2026/11/21/orders-with-every-line-item-and-its-taxes-part-00042-of-00512.parquet"

/** @type {[id: string, title: string, lines: any[], options?: {retry?: boolean, label?: string}][]} */
export const STATES = [
  ["connecting", "Connecting", []],
  ["queued", "Queued", [snapshot("image.resize", { queue_position: 4 })]],
  ["no-worker", "Nobody is there to do it", [snapshot("report.weekly", { waiting: { reason: "no_worker_for_task", message: NO_WORKER } })]],
  ["busy", "The workers are busy", [snapshot("mail.send", { waiting: { reason: "workers_busy", message: "All 8 slots of the queue are taken." } })]],
  ["running", "Running", [snapshot("orders.import"), running(), progress({ ...ROWS, message: "orders.csv" })]],
  ["unknown", "Running, nobody knows how far", [snapshot("index.rebuild"), running(), progress({ current: 12_840, unit: "files", rate: 210, message: "Looking at what has changed" })]],
  ["steps", "In steps", [snapshot("orders.import"), running(), progress({ ...ROWS, ...STEPS })]],
  ["bytes", "Bytes", [snapshot("video.upload"), running(), progress({ current: 1_530_000_000, total: 4_200_000_000, unit: "bytes", percent: 36.4, rate: 12_500_000, eta_seconds: 4810 })]],
  ["long", "A long message", [snapshot("warehouse.load.orders_with_every_line_item_and_its_taxes"), running(), progress({ ...ROWS, message: LONG })]],
  ["attempt", "Second attempt", [snapshot("orders.import"), running(2), progress({ ...ROWS, ...STEPS }, 2)]],
  ["retrying", "Waiting for another attempt", [snapshot("orders.import"), running(), { type: "status", seq: 3, at: AT, status: "retrying", attempt: 1, error: { code: "exception", type: "TimeoutError", message: "The shop did not answer within 30 s." } }]],
  ["lost", "The connection is lost", [snapshot("orders.import"), running(), progress({ ...ROWS, ...STEPS }), { connection: "reconnecting", problem: "The server cannot be reached." }]],
  ["stalled", "The worker is silent", [snapshot("orders.import"), running(), progress({ ...ROWS, ...STEPS }), { type: "stalled", seq: 11, at: AT }]],
  ["cancelling", "Cancelling", [snapshot("orders.import"), running(), progress(ROWS), { type: "status", seq: 12, at: AT, status: "running", attempt: 1, cancel_requested: true }]],
  ["succeeded", "Succeeded", [snapshot("orders.import"), running(), end("succeeded", { progress: ALL })]],
  ["failed", "Failed", [snapshot("orders.import"), running(), end("failed", { progress: ROWS, error: { code: "exception", type: "ValueError", message: "Line 341 of orders.csv has 7 columns where 9 are expected: mend the line, or pass skip_broken=true." } })], { retry: true }],
  ["cancelled", "Cancelled", [snapshot("orders.import"), running(), end("cancelled", { progress: ROWS })], { retry: true }],
  ["again", "Done again", [snapshot("orders.import", { retry_of: "failed" }), running(), progress({ ...ROWS, percent: 8, current: 80 })]],
  ["refused", "Refused", [{ connection: "refused", problem: "There is no job with this id, or it has expired." }]],
]

/** @type {[id: string, lines: any[]][]} */
const NIGHTLY = [
  ["n1", [snapshot("orders.import"), running(), end("succeeded", { progress: ALL })]],
  ["n2", [snapshot("stock.sync"), running(), end("succeeded", { progress: { current: 81, total: 81, unit: "shops", percent: 100 } })]],
  ["n3", [snapshot("invoices.print"), running(), end("failed", { progress: { ...ROWS, percent: 62 }, error: { code: "exception", type: "OSError", message: "The printer is out of paper." } })]],
  ["n4", [snapshot("orders.export"), running(), progress({ ...ROWS, percent: 78, current: 780, message: "south" })]],
  ["n5", [snapshot("video.upload"), running(), progress({ current: 1_530_000_000, total: 4_200_000_000, unit: "bytes", percent: 36.4, rate: 12_500_000, eta_seconds: 4810 })]],
  ["n6", [snapshot("report.weekly", { queue_position: 1 })]],
]

/** All transcripts by the id of their job. */
export const TRANSCRIPTS = Object.fromEntries([
  ...STATES.map(([id, , lines]) => [id, owned(id, lines, {})]),
  ...NIGHTLY.map(([id, lines]) => [id, owned(id, lines, { tags: ["nightly"], created_at: AT.replace("08:00:00", `0${id[1]}:00:00`) })]),
])

/**
 * @param {string} id
 * @param {any[]} lines
 * @param {object} job
 */
function owned(id, lines, job) {
  return lines.map((line) => (line.type === "snapshot" ? { ...line, job_id: id, job: { ...line.job, id, ...job } } : { ...line, ...(line.type && { job_id: id }) }))
}
