import assert from "node:assert/strict"
import test from "node:test"
import { advance, isBehind, streamAddress, told } from "../src/plan.js"
import { readJob } from "../src/job.js"
import { end, event, job, progress, snapshot } from "./fake.js"

/** @param {any[]} events */
function counted(events) {
  /** @type {import("../src/plan.js").Known | undefined} */
  let known
  const taken = []
  for (const one of events) {
    const next = advance(known, one)
    if (next) taken.push(`${one.type} ${one.cursor ?? ""}`.trim())
    known = next ?? known
  }
  return { taken, known }
}

test("places of one name compare, others do not", () => {
  assert.ok(isBehind("a-9", "a-10"))
  assert.ok(!isBehind("a-10", "a-10"))
  assert.ok(!isBehind("a-9", "b-10"))
  assert.ok(!isBehind("", "a-1") && !isBehind("a-1", ""))
  assert.ok(isBehind("a-b-1", "a-b-2"))
})

test("what is heard again counts once", () => {
  const { taken, known } = counted([snapshot("A", 3), progress("A", 4), progress("A", 2), progress("A", 4), snapshot("A", 3), progress("A", 5)])
  assert.deepEqual(taken, ["snapshot e-3", "progress e-4", "progress e-5"])
  assert.equal(known?.job?.version, 5)
})

test("a history that has branched is begun anew by its snapshot, and gone on with without one", () => {
  const branched = { ...snapshot("A", 2), cursor: "f-2" }
  const { taken, known } = counted([snapshot("A", 5), branched, progress("A", 2), { ...progress("A", 3), cursor: "f-3" }])
  assert.deepEqual(taken, ["snapshot e-5", "snapshot f-2", "progress f-3"])
  assert.deepEqual([known?.job?.version, known?.epoch, known?.seq], [3, "f", 3])
  assert.deepEqual(counted([snapshot("A", 5), { ...progress("A", 6), cursor: "f-6" }]).taken, ["snapshot e-5", "progress f-6"])
})

test("a job ends once, also when all that was missed is how it ended", () => {
  const done = readJob({ ...job("A", 7), status: "succeeded", done: true })
  const { taken, known } = counted([snapshot("A", 7), ...told(done), end("A", 7), end("A", 7, "job_end")])
  assert.deepEqual(taken, ["snapshot e-7", "job_end"])
  assert.equal(known?.job?.done, true)
})

test("a finished job is told like by a stream: how it stands, then its end", () => {
  const done = readJob({ ...job("A", 7), status: "failed", done: true })
  assert.deepEqual(counted(told(done)).taken, ["snapshot", "job_end"])
  assert.deepEqual(told(readJob(job("A", 7))).map(({ type, seq }) => [type, seq]), [["snapshot", 7]])
})

test("what has no place in the history is always news", () => {
  const waiting = event("A", 0, "waiting", { seq: undefined, cursor: undefined, queue_position: 2 })
  assert.deepEqual(counted([snapshot("A", 5), waiting, waiting]).taken, ["snapshot e-5", "waiting", "waiting"])
})

test("the address says who is to be followed and from where", () => {
  /** @param {Record<string, string>} places */
  const address = (places) => streamAddress(new Map(Object.entries(places)))
  assert.deepEqual(address({ A: "" }), ["v1/jobs/A/status/stream", {}])
  assert.deepEqual(address({ A: "e-3~waits" }), ["v1/jobs/A/status/stream", { last_event_id: "e-3" }])
  assert.deepEqual(address({ A: "e-3", B: "" }), ["v1/status/stream", { job: ["A@e-3", "B"] }])
  assert.deepEqual(address({ "?tag=x&batch=y": "b-9" }), ["v1/status/stream", { tag: "x", batch: "y", last_event_id: "b-9" }])
  assert.deepEqual(address({ "?": "" }), ["v1/status/stream", {}])
})

test("what comes late after the end of a job does not have it end again", () => {
  const waiting = event("A", 0, "waiting", { seq: undefined, cursor: undefined, queue_position: 2 })
  assert.deepEqual(counted([snapshot("A", 1), end("A", 2), waiting, end("A", 2)]).taken, ["snapshot e-1", "end e-2", "waiting"])
})
