/** Following jobs through trouble: every request that is made, and every event once. */

import assert from "node:assert/strict"
import test from "node:test"
import { end, event, heard, job, progress, Server, settled, snapshot } from "./fake.js"

const OPEN_MS = 25

test("a job is followed by its own stream to its end, and nobody asks again", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  const stream = await server.after(OPEN_MS)
  assert.equal(stream.headers.get("Accept"), "text/event-stream")
  await stream.stream(snapshot("J", 1), progress("J", 2), end("J", 3))
  assert.deepEqual(kept.types, ["snapshot", "progress", "end"])
  assert.equal(kept.updates.at(-1).connection, "ended")
  assert.equal(kept.updates.at(-1).job.status, "succeeded")
  assert.ok(kept.over)
  await server.after(3_600_000)
  assert.deepEqual(server.paths, ["/v1/jobs/J/status/stream"])
})

test("a connection that breaks goes on after the last event, and nothing comes twice", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  const first = await server.after(OPEN_MS)
  await first.stream(snapshot("J", 1), progress("J", 2))
  await first.cut()
  assert.equal(kept.updates.at(-1).connection, "reconnecting")
  assert.equal(kept.updates.at(-1).job.version, 2)
  const second = await server.after(1000)
  assert.equal(second.path, "/v1/jobs/J/status/stream?last_event_id=e-2")
  await second.stream(progress("J", 2), progress("J", 3), end("J", 4))
  assert.deepEqual(kept.seqs, [1, 2, 3, 4])
})

test("an unfinished block is not an event, and the cursor stays before it", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  const first = await server.after(OPEN_MS)
  await first.stream(snapshot("J", 1))
  await first.text(`id: e-2\nevent: end\ndata: {"type":"end","job_id":"J","seq":2}\n`)
  await first.close()
  assert.equal((await server.after(1000)).path, "/v1/jobs/J/status/stream?last_event_id=e-1")
  assert.deepEqual(kept.seqs, [1])
})

test("the server's `retry` and `Retry-After` are waited for, and jitter comes on top", async (context) => {
  const server = new Server(context)
  heard(server.client().watch("J"))
  const first = await server.after(OPEN_MS)
  await first.stream(snapshot("J", 1))
  await first.text("retry: 3000\n\n")
  await first.close()
  await server.after(2999)
  assert.equal(server.asked.length, 1)
  const second = await server.after(1)
  await second.json({ detail: "Redis is away." }, 503, { "Retry-After": "7" })
  await server.after(7000)
  assert.equal(server.asked.length, 2)
  await server.after(1000)
  assert.equal(server.asked.length, 3)
})

test("bad answers of a deploy are waited out, longer each time", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  await (await server.after(OPEN_MS)).json("<html>", 502)
  await (await server.after(500)).json("<html>", 503)
  await server.after(999)
  assert.equal(server.asked.length, 2)
  const third = await server.after(1)
  await third.stream(snapshot("J", 1), end("J", 2))
  assert.deepEqual(kept.types, ["snapshot", "end"])
})

test("what is no stream is no stream, whatever its status says", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  const first = await server.after(OPEN_MS)
  await first.json("Please sign in to this network")
  assert.equal(kept.updates.at(-1).connection, "reconnecting")
  await (await server.after(500)).stream(snapshot("J", 1), end("J", 2))
  assert.ok(kept.over)
})

test("a server that says come back is come back to when it says", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  await (await server.after(OPEN_MS)).stream(snapshot("J", 1), { type: "reconnect", reason: "shutdown", retry_ms: 4321 })
  await server.after(4320)
  assert.equal(server.asked.length, 1)
  assert.equal((await server.after(1)).path, "/v1/jobs/J/status/stream?last_event_id=e-1")
  assert.deepEqual(kept.types, ["snapshot"])
})

test("a connection that falls silent is given up, and pings keep one that lives", async (context) => {
  const server = new Server(context)
  heard(server.client().watch("J"))
  const first = await server.after(OPEN_MS)
  await first.stream(snapshot("J", 1))
  for (let ping = 0; ping < 4; ping++) {
    await server.after(30_000)
    await first.say({ type: "ping", at: "2026-01-01T00:00:00.000Z" })
  }
  assert.ok(!first.aborted)
  const second = await server.after(45_000)
  assert.ok(first.aborted)
  assert.equal(second.path, "/v1/jobs/J/status/stream?last_event_id=e-1")
})

test("where nothing comes through, the same is asked for by long-poll", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  const buffered = await server.after(OPEN_MS)
  await buffered.stream()
  const poll = await server.after(8000)
  assert.ok(buffered.aborted)
  assert.equal(poll.path, "/v1/jobs/J/events?limit=500&wait=20")
  await poll.json({ items: [snapshot("J", 1)], next: "e-1~waits" })
  assert.equal(kept.updates.at(-1).connection, "polling")
  const next = await server.after(0)
  assert.equal(next.path, "/v1/jobs/J/events?after=e-1%7Ewaits&limit=500&wait=20")
  await next.json({ items: [progress("J", 2), end("J", 3)], next: "e-3" })
  assert.deepEqual(kept.seqs, [1, 2, 3])
  assert.ok(kept.over)
})

test("no answer at all is a stream that is kept back as well", async (context) => {
  const server = new Server(context)
  heard(server.client().watch("J"))
  await server.after(OPEN_MS)
  assert.match((await server.after(8000)).path, /events.*wait=20/)
})

test("a job that has ended meanwhile is asked for once", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  await (await server.after(OPEN_MS)).json(null, 204)
  await (await server.after(0)).json(null, 204)
  const get = await server.after(0)
  assert.equal(get.path, "/v1/jobs/J")
  await get.json(job("J", 9, { status: "failed", done: true, error: { code: "timeout", message: "Too long." } }))
  assert.deepEqual(kept.types, ["snapshot", "end"])
  assert.equal(kept.updates.at(-1).job.error.code, "timeout")
  await server.after(3_600_000)
  assert.equal(server.asked.length, 3)
})

test("a gap is told, and the snapshot after it counts", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watch("J"))
  const stream = await server.after(OPEN_MS)
  await stream.stream(snapshot("J", 9))
  const back = { ...snapshot("J", 3), cursor: "f-3" }
  await stream.say({ type: "gap", job_id: "J", reason: "epoch" }, back, { ...progress("J", 4), cursor: "f-4" })
  assert.deepEqual(kept.types, ["snapshot", "gap", "snapshot", "progress"])
  assert.equal(kept.updates.at(-1).job.version, 4)
})

test("a job that cannot be had is refused to who iterates and to who listens", async (context) => {
  const server = new Server(context)
  const client = server.client()
  const kept = heard(client.watch("J"))
  const told = new Promise((resolve) => {
    client.watch("J").addEventListener("connection", (one) => {
      const { connection, problem } = /** @type {CustomEvent} */ (one).detail
      if (connection === "refused") resolve(problem)
    })
  })
  await (await server.after(OPEN_MS)).json({ detail: "There is no job with this id." }, 404)
  await (await server.after(0)).json({ detail: "There is no job with this id." }, 404)
  assert.equal(kept.problem.status, 404)
  assert.equal(await told, "There is no job with this id.")
  await server.after(3_600_000)
  assert.equal(server.asked.length, 2)
})

test("several jobs share a stream, each goes on from its own cursor, and one that ended is not asked for", async (context) => {
  const server = new Server(context)
  const client = server.client()
  const [a, b] = [heard(client.watch("A")), heard(client.watch("B"))]
  const first = await server.after(OPEN_MS)
  assert.equal(decodeURIComponent(first.path), "/v1/status/stream?job=A&job=B")
  await first.stream(snapshot("A", 1), snapshot("B", 5), end("A", 2, "job_end"))
  assert.deepEqual([a.types, a.over], [["snapshot", "end"], true])
  const c = heard(client.watch("C"))
  const second = await server.after(OPEN_MS)
  assert.ok(first.aborted)
  assert.equal(decodeURIComponent(second.path), "/v1/status/stream?job=B@e-5&job=C")
  await second.stream(progress("B", 6), snapshot("C", 1))
  assert.deepEqual([b.seqs, c.seqs], [[5, 6], [1]])
  assert.deepEqual([b, c].map(({ updates }) => updates.filter((one) => !one.event).map((one) => one.connection)), [["live"], ["live"]])
})

test("who comes to a job that is followed already is told how it stands, without a request", async (context) => {
  const server = new Server(context)
  const client = server.client()
  heard(client.watch("A"))
  await (await server.after(OPEN_MS)).stream(snapshot("A", 1), progress("A", 2))
  const late = heard(client.watch("A"))
  await server.after(OPEN_MS)
  assert.deepEqual([late.types, late.seqs], [["snapshot"], [2]])
  assert.equal(late.updates[0].job.progress.current, 2)
  assert.equal(server.asked.length, 1)
})

test("when nobody watches any more, nothing is open", async (context) => {
  const server = new Server(context)
  const over = new AbortController()
  const kept = heard(server.client().watch("A", { signal: over.signal }))
  const stream = await server.after(OPEN_MS)
  await stream.stream(snapshot("A", 1))
  over.abort()
  await server.after(OPEN_MS)
  assert.ok(kept.over && kept.problem === null)
  assert.ok(stream.aborted)
  await server.after(60_000)
  assert.equal(server.asked.length, 1)
})

test("more jobs than a stream takes are shared out", async (context) => {
  const server = new Server(context)
  heard(server.client().watchMany({ ids: Array.from({ length: 501 }, (_, index) => `J${index}`) }))
  await server.after(OPEN_MS)
  assert.deepEqual(server.asked.map(({ url }) => url.searchParams.getAll("job").length), [500, 0])
  assert.equal(server.asked[1].path, "/v1/jobs/J500/status/stream")
})

test("many end with a sum, whichever streams they came by", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watchMany({ ids: ["A", "B"] }))
  const missing = { type: "job_missing", job_id: "B", reason: "unknown", id: "x-1" }
  await (await server.after(OPEN_MS)).stream(snapshot("A", 1), missing, end("A", 2, "job_end"))
  assert.deepEqual(kept.types, ["snapshot", "job_missing", "job_end", "end"])
  assert.deepEqual(kept.updates.at(-1).event, { type: "end", jobs: 2, by_status: { missing: 1, succeeded: 1 } })
  assert.deepEqual(kept.updates.map(({ id }) => id).filter(Boolean), ["A", "B", "A"])
})

test("a selection goes on after the id of its last event, and ends when the server says so", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watchMany({ tag: "x y" }))
  const first = await server.after(OPEN_MS)
  assert.equal(first.path, "/v1/status/stream?tag=x+y")
  await first.stream({ type: "selection", jobs: 1 }, { ...snapshot("A", 1), id: "b1-1" }, { ...end("A", 2, "job_end"), id: "b1-2" })
  assert.ok(!kept.over)
  await first.cut()
  const second = await server.after(1000)
  assert.equal(second.path, "/v1/status/stream?tag=x+y&last_event_id=b1-2")
  await second.stream({ type: "end", jobs: 1, by_status: { succeeded: 1 }, id: "b2-1" })
  assert.deepEqual(kept.types, ["selection", "snapshot", "job_end", "end"])
  assert.ok(kept.over)
})

test("a selection of which no stream comes through is listed again and again, to its end", async (context) => {
  const server = new Server(context)
  const kept = heard(server.client().watchMany({ batch: "b" }))
  await (await server.after(OPEN_MS)).stream()
  const list = await server.after(8000)
  assert.equal(list.path, "/v1/jobs?batch=b&limit=500")
  await list.json({ items: [job("A", 3)], next_cursor: "c" })
  const more = await server.after(0)
  assert.equal(more.path, "/v1/jobs?batch=b&limit=500&cursor=c")
  await more.json({ items: [job("B", 4, { done: true, status: "failed" })], next_cursor: null })
  assert.deepEqual(kept.types, ["snapshot", "snapshot", "job_end"])
  await server.after(1499)
  assert.equal(server.asked.length, 3)
  const again = await server.after(1)
  await again.json({ items: [job("A", 5, { done: true, status: "succeeded" }), job("B", 4, { done: true, status: "failed" })], next_cursor: null })
  assert.deepEqual(kept.types.slice(3), ["snapshot", "job_end", "end"])
  assert.ok(kept.over)
})

test("where one of several jobs is refused, they are asked for one by one, and the others go on", async (context) => {
  const server = new Server(context)
  const client = server.client()
  const [a, b] = [heard(client.watch("A")), heard(client.watch("B"))]
  await (await server.after(OPEN_MS)).json({ detail: "no" }, 404)
  await (await server.after(0)).json({ items: [snapshot("A", 1)], next: "e-1" })
  await (await server.after(0)).json({ detail: "There is no job with this id." }, 404)
  assert.equal(b.problem.status, 404)
  assert.deepEqual(a.seqs, [1])
  const stream = await server.after(1500)
  assert.equal(stream.path, "/v1/jobs/A/status/stream?last_event_id=e-1")
})

test("a token that is over is renewed once, in mid-stream as well, and the cursor stays", async (context) => {
  const server = new Server(context)
  let given = 0
  const kept = heard(server.client({ getToken: () => `t${++given}` }).watch("J"))
  const first = await server.after(OPEN_MS)
  assert.equal(first.headers.get("Authorization"), "Bearer t1")
  await first.stream(snapshot("J", 1), { type: "reconnect", reason: "token", retry_ms: 10 })
  const second = await server.after(10)
  assert.equal(second.headers.get("Authorization"), "Bearer t2")
  assert.equal(second.path, "/v1/jobs/J/status/stream?last_event_id=e-1")
  await second.stream(progress("J", 2))
  await second.cut()
  const third = await server.after(1000)
  await third.json({ detail: "expired" }, 401)
  const fourth = await server.after(0)
  assert.equal(fourth.headers.get("Authorization"), "Bearer t3")
  assert.equal(fourth.path, "/v1/jobs/J/status/stream?last_event_id=e-2")
  await fourth.json({ detail: "Still no." }, 401)
  assert.equal(kept.problem.status, 401)
  assert.equal(kept.problem.message, "Still no.")
  await server.after(3_600_000)
  assert.equal(server.asked.length, 4)
})

test("a token that cannot be had now is asked for again later", async (context) => {
  const server = new Server(context)
  let tries = 0
  const getToken = () => {
    if (++tries === 1) throw new TypeError("offline")
    return "t"
  }
  const kept = heard(server.client({ getToken }).watch("J"))
  await server.after(OPEN_MS)
  assert.equal(kept.updates.at(-1).connection, "reconnecting")
  assert.equal(kept.updates.at(-1).problem, "No token: TypeError: offline")
  ;(await server.after(500)).fail(new TypeError("network error"))
  await (await server.after(1000)).stream(snapshot("J", 1), end("J", 2))
  assert.equal(tries, 2) // what the network does is not the token's fault
  assert.ok(kept.over && kept.problem === null)
})

test("who iterates too slowly is told so, and of every end", async (context) => {
  const server = new Server(context)
  const watch = server.client().watchMany({ ids: ["A", "B"] })
  const iterator = watch[Symbol.asyncIterator]()
  const first = iterator.next() // begins to listen
  const stream = await server.after(OPEN_MS)
  await stream.stream(snapshot("A", 1), snapshot("B", 1))
  await first
  const lines = Array.from({ length: 6000 }, (_, index) => event("A", index + 2, "log", { message: "" }))
  await stream.say(end("B", 2, "job_end"), ...lines, end("A", 6002, "job_end"))
  const types = []
  for await (const { event: one } of { [Symbol.asyncIterator]: () => iterator }) if (one) types.push(one.type)
  assert.ok(types.includes("gap") && types.length < 6000)
  assert.equal(types.filter((type) => type === "job_end").length, 2)
  assert.equal(types.at(-1), "end")
})

test("events go to those who listen for them by name", async (context) => {
  const server = new Server(context)
  const watch = server.client().watch("J")
  /** @type {string[]} */
  const seen = []
  for (const name of ["update", "connection", "progress", "end"]) {
    watch.addEventListener(name, (one) => seen.push(`${name} ${/** @type {CustomEvent} */ (one).detail.connection}`))
  }
  await (await server.after(OPEN_MS)).stream(snapshot("J", 1), progress("J", 2), end("J", 3))
  assert.deepEqual(seen, [
    ...["update live", "connection live", "update live", "update live", "progress live"],
    ...["update ended", "connection ended", "end ended"],
  ])
})

test("a submission is sent again under its key until it is answered", async (context) => {
  const server = new Server(context)
  const submitting = server.client({ token: "k" }).submit("t", { a: 1 }, { tags: ["x"] })
  const first = await server.after(0)
  first.fail(new TypeError("network error"))
  const second = await server.after(1000)
  assert.equal(second.headers.get("Idempotency-Key"), first.headers.get("Idempotency-Key"))
  assert.equal(second.headers.get("Authorization"), "Bearer k")
  await second.json(job("J", 1), 202)
  assert.equal((await submitting).id, "J")
})

test("what is done to many jobs goes on to the end, and is one sum", async (context) => {
  const server = new Server(context)
  const cancelling = server.client().cancelAll({ tag: "x" })
  const first = await server.after(0)
  assert.equal(`${first.method} ${first.path}`, "POST /v1/jobs/cancel?tag=x")
  const answer = { dry_run: false, matched: 2, by_status: { queued: 2 }, capped: [], changed: 1, skipped: 1, refusals: [{ id: "A" }] }
  await first.json({ ...answer, next_cursor: "c" })
  const second = await server.after(0)
  assert.equal(second.path, "/v1/jobs/cancel?tag=x&cursor=c")
  await second.json({ ...answer, by_status: { queued: 1, running: 1 }, refusals: [], next_cursor: null })
  assert.deepEqual(await cancelling, {
    ...{ dry_run: false, matched: 4, by_status: { queued: 3, running: 1 }, capped: [], changed: 2, skipped: 2 },
    ...{ refusals: [{ id: "A" }], next_cursor: null },
  })
  await settled()
})

test("a refusal is a sentence, also where a proxy answers", async (context) => {
  const server = new Server(context)
  const getting = server.client().get("J")
  ;(await server.after(0)).answer(new Response("<html>", { status: 502, headers: { "Retry-After": "3" } }))
  await assert.rejects(getting, { name: "Problem", status: 502, message: "The server answered 502.", retryAfter: 3, temporary: true })
})

test("what the page's own address asks for is nothing that the client asks for", async (context) => {
  const server = new Server(context)
  Object.assign(globalThis, { document: { baseURI: "http://page/orders/list.html?tag=mine&job=J#top" } })
  context.after(() => Reflect.deleteProperty(globalThis, "document"))
  heard(server.client({ baseUrl: undefined }).watchMany({ all: true }))
  assert.equal((await server.after(OPEN_MS)).url.href, "http://page/orders/v1/status/stream")
  heard(server.client({ baseUrl: undefined }).watchMany({ tag: "x" }))
  assert.equal((await server.after(OPEN_MS)).url.href, "http://page/orders/v1/status/stream?tag=x")
})

test("a job of a selection that is deleted after its end is told as gone, and one that comes under its id as another", async (context) => {
  const server = new Server(context)
  const client = server.client()
  const kept = heard(client.watchMany({ tag: "x" }))
  const stream = await server.after(OPEN_MS)
  await stream.stream({ ...snapshot("A", 8), id: "b-1" }, { ...end("A", 9, "job_end"), id: "b-2" })
  await stream.say({ type: "job_missing", job_id: "A", reason: "deleted", id: "b-3" })
  assert.deepEqual(kept.types, ["snapshot", "job_end", "job_missing"])
  const late = heard(client.watchMany({ tag: "x" }))
  await server.after(OPEN_MS)
  assert.deepEqual(late.types, [])
  await stream.say({ ...snapshot("A", 1), id: "b-4" })
  assert.deepEqual(late.seqs, [1])
})

test("who comes while the server is away hears that it is, like those who were there", async (context) => {
  const server = new Server(context)
  const client = server.client()
  heard(client.watch("J"))
  await (await server.after(OPEN_MS)).json({ detail: "Redis is away." }, 503, { "Retry-After": "60" })
  const late = heard(client.watch("J"))
  await settled()
  assert.deepEqual([late.updates[0].connection, late.updates[0].problem], ["reconnecting", "Redis is away."])
})

test("nobody is kept waiting for a submission that a server will not take for long", async (context) => {
  const server = new Server(context)
  const submitting = server.client().submit("t")
  ;(await server.after(0)).json({ detail: "Come back in an hour." }, 503, { "Retry-After": "3600" })
  await assert.rejects(submitting, { status: 503, retryAfter: 3600, message: "Come back in an hour." })
})

test("a wait that no timer can hold is a long one, and none at all never", async (context) => {
  const server = new Server(context)
  heard(server.client().watch("J"))
  await (await server.after(OPEN_MS)).json({}, 503, { "Retry-After": "99999999999" })
  for (let minute = 0; minute < 5; minute++) await server.after(60_000)
  assert.equal(server.asked.length, 1)
})

test("a token that never comes keeps nobody waiting for ever", async (context) => {
  const server = new Server(context)
  /** @type {Map<number, AbortController>} */
  const timers = new Map()
  context.mock.method(AbortSignal, "timeout", (/** @type {number} */ ms) => {
    timers.set(ms, new AbortController())
    return timers.get(ms)?.signal
  })
  let tries = 0
  const getToken = () => (++tries === 1 ? new Promise(() => {}) : "t")
  const client = server.client({ getToken })
  const refused = assert.rejects(client.get("J"), { status: 0, temporary: true, message: "No token: TimeoutError: late" })
  timers.get(10_000)?.abort(new DOMException("late", "TimeoutError"))
  await refused
  const kept = heard(client.watch("J"))
  await (await server.after(OPEN_MS)).stream(snapshot("J", 1), end("J", 2))
  assert.ok(kept.over)
})

test("who iterates too slowly is told how each job stands", async (context) => {
  const server = new Server(context)
  const iterator = server.client().watchMany({ ids: ["A", "B"] })[Symbol.asyncIterator]()
  const first = iterator.next()
  const stream = await server.after(OPEN_MS)
  await stream.stream(snapshot("A", 1))
  await first
  const lines = Array.from({ length: 6000 }, (_, index) => event("A", index + 2, "log", { message: "" }))
  await stream.say(snapshot("B", 7), ...lines, end("A", 6002, "job_end"), end("B", 8, "job_end"))
  const versions = []
  for await (const { id, job: one, event: happened } of { [Symbol.asyncIterator]: () => iterator }) {
    if (id === "B") versions.push([happened?.type, one?.version])
  }
  assert.deepEqual(versions, [["snapshot", 7], ["job_end", 8]])
})
