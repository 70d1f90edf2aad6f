/** Tabs that share a connection: who leads, and what the others hear when that changes. */

import assert from "node:assert/strict"
import test from "node:test"
import { end, heard, log, progress, settled, snapshot } from "./fake.js"
import { Browser, Channel, hold } from "./fake-browser.js"

test("two tabs follow a job by one stream, and each sees all of it", async (context) => {
  const browser = new Browser(context)
  const one = heard(browser.tab().client.watch("J"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1), progress("J", 2))
  const two = heard(browser.tab().client.watch("J"))
  await browser.found()
  await stream.say(progress("J", 3), end("J", 4))
  assert.equal(browser.asked.length, 1)
  assert.deepEqual(one.seqs, [1, 2, 3, 4])
  assert.deepEqual(two.seqs, [2, 3, 4])
  assert.deepEqual([two.types[0], two.updates[0].connection, two.over], ["snapshot", "live", true])
})

test("a tab that comes before the first word does not make the stream begin again", async (context) => {
  const browser = new Browser(context)
  const one = heard(browser.tab().client.watch("J"))
  const stream = await browser.found()
  const two = heard(browser.tab().client.watch("J"))
  await browser.found()
  await stream.stream(snapshot("J", 1), end("J", 2))
  assert.equal(browser.asked.length, 1)
  assert.deepEqual([one.seqs, two.seqs], [[1, 2], [1, 2]])
})

test("what a second tab wants as well is fetched for it by the first", async (context) => {
  const browser = new Browser(context)
  heard(browser.tab().client.watch("A"))
  await (await browser.found()).stream(snapshot("A", 1))
  const two = heard(browser.tab().client.watch("B"))
  const stream = await browser.found()
  assert.equal(decodeURIComponent(stream.path), "/v1/status/stream?job=A@e-1&job=B")
  await stream.stream(snapshot("B", 1), end("B", 2, "job_end"))
  assert.deepEqual(two.types, ["snapshot", "end"])
})

for (const leaving of ["pagehide", "freeze"]) {
  test(`when the tab with the connection has its ${leaving}, another goes on without a hole`, async (context) => {
    const browser = new Browser(context)
    const first = browser.tab()
    const one = heard(first.client.watch("J"))
    const stream = await browser.found()
    await stream.stream(snapshot("J", 1))
    const [two, three] = [heard(browser.tab().client.watch("J")), heard(browser.tab().client.watch("J"))]
    await browser.found()
    await stream.say(progress("J", 2))
    await first.happen(leaving)
    assert.ok(stream.aborted)
    const next = await browser.found()
    assert.equal(browser.asked.length, 2)
    assert.equal(next.path, "/v1/jobs/J/status/stream?last_event_id=e-2")
    await next.stream(progress("J", 3))
    browser.hidden = leaving === "freeze" // a page may wake without being seen
    await first.happen(leaving === "freeze" ? "resume" : "pageshow")
    const again = await browser.found()
    if (again !== next) await again.stream(progress("J", 3)) // the one that was away has to hear what it missed
    await again.say(end("J", 4))
    assert.deepEqual([one.seqs, two.seqs, three.seqs], [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]])
  })
}

test("a tab that comes back behind the others hears what it missed before what is new", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  const one = heard(first.client.watch("J"))
  await (await browser.found()).stream(snapshot("J", 1))
  const two = heard(browser.tab().client.watch("J"))
  await browser.found()
  await first.happen("freeze")
  const stream = await browser.found()
  await stream.stream(log("J", 2), log("J", 3))
  await first.happen("resume")
  await browser.after(25)
  await stream.say(log("J", 4)) // before anybody had the time to look where it is
  const again = await browser.found()
  assert.equal(again.path, "/v1/jobs/J/status/stream?last_event_id=e-1")
  await again.stream(log("J", 2), log("J", 3), log("J", 4), end("J", 5))
  assert.deepEqual([one.seqs, two.seqs], [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
})

test("a tab that leads without following a job itself can still tell it to those who come later", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watch("A"))
  const stream = await browser.found()
  await stream.stream(snapshot("A", 1))
  heard(browser.tab().client.watch("B"))
  const both = await browser.found()
  await both.stream(snapshot("B", 1), progress("B", 2))
  const third = heard(browser.tab().client.watch("A"))
  await browser.found()
  await first.happen("pagehide")
  const next = await browser.found()
  assert.equal(decodeURIComponent(next.path).replace(/job=(.@e-.)&job=(.@e-.)/, (_, ...jobs) => jobs.slice(0, 2).sort().join(" ")), "/v1/status/stream?A@e-1 B@e-2")
  await next.stream(progress("A", 2))
  const late = heard(browser.tab().client.watch("A"))
  await browser.found()
  assert.deepEqual(late.seqs, [2])
  assert.equal(late.updates.at(-1).job.progress.current, 2)
  assert.deepEqual(third.seqs, [1, 2])
})

test("a tab that keeps the connection and says nothing has it taken away", async (context) => {
  const browser = new Browser(context)
  heard(browser.tab().client.watch("J"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1))
  const two = heard(browser.tab().client.watch("J"))
  await browser.found()
  for (const channel of [...Channel.all].slice(0, 1)) channel.postMessage = () => {} // it sleeps
  await browser.after(68_000)
  const next = await browser.found()
  assert.equal(next.path, "/v1/jobs/J/status/stream?last_event_id=e-1")
  await next.stream(end("J", 2))
  assert.deepEqual(two.seqs, [1, 2])
})

test("tabs of others have their own connection", async (context) => {
  const browser = new Browser(context)
  heard(browser.tab({ share: undefined, token: "a" }).client.watch("J"))
  heard(browser.tab({ share: undefined, token: "b" }).client.watch("J"))
  heard(browser.tab({ share: undefined, getToken: () => "a" }).client.watch("J"))
  await browser.found()
  assert.equal(browser.asked.length, 3)
})

test("when nobody follows anything, no lock is held and no channel is open", async (context) => {
  const browser = new Browser(context)
  heard(browser.tab().client.watch("J"))
  await (await browser.found()).stream(snapshot("J", 1), end("J", 2))
  await browser.found()
  const { locks } = /** @type {any} */ (navigator)
  assert.deepEqual([locks.held.size, Channel.all.size], [0, 0])
})

test("a page that wakes after long drops what it had open, and one that wakes at once keeps it", async (context) => {
  const browser = new Browser(context)
  let now = 1e12
  context.mock.method(Date, "now", () => now)
  const tab = browser.tab()
  heard(tab.client.watch("J"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1))
  now += 44_000
  await tab.happen("visibilitychange")
  assert.ok(!stream.aborted)
  now += 2000
  await tab.happen("visibilitychange")
  assert.ok(stream.aborted)
  assert.equal(browser.asked.at(-1)?.path, "/v1/jobs/J/status/stream?last_event_id=e-1")
})

test("a clock that is set back or ahead is no reason for anything", async (context) => {
  const browser = new Browser(context)
  let now = 1e12
  context.mock.method(Date, "now", () => now)
  const tab = browser.tab()
  const kept = heard(tab.client.watch("J"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1))
  now -= 1e10
  await tab.happen("visibilitychange")
  await stream.say(progress("J", 2))
  now += 3e10
  await stream.say(progress("J", 3))
  await tab.happen("visibilitychange")
  await stream.say(end("J", 4))
  assert.deepEqual(kept.seqs, [1, 2, 3, 4])
  assert.equal(browser.asked.length, 1)
})

test("when the network is back, or the page is seen again, nobody waits on", async (context) => {
  const browser = new Browser(context)
  const tab = browser.tab()
  const kept = heard(tab.client.watch("J"))
  const first = await browser.found()
  Object.assign(navigator, { onLine: false })
  first.fail(new TypeError("Failed to fetch"))
  await settled()
  assert.deepEqual([kept.updates.at(-1).connection, kept.updates.at(-1).problem], ["reconnecting", "This device is offline."])
  Object.assign(navigator, { onLine: true })
  await tab.happen("online")
  assert.equal(browser.asked.length, 2)
  browser.asked[1].json({ detail: "Come back in an hour." }, 503, { "Retry-After": "3600" })
  await settled()
  await tab.happen("visibilitychange")
  assert.equal(browser.asked.length, 3)
})

/** @type {Record<string, (error: DOMException) => void>} */
const DENIED = {
  locks: (error) => Object.assign(navigator, { locks: { query: () => Promise.reject(error), request: () => Promise.reject(error) } }),
  channels: (error) => {
    const refuse = function () {
      throw error
    }
    Object.assign(globalThis, { BroadcastChannel: refuse })
  },
}

for (const [what, deny] of Object.entries(DENIED)) {
  test(`where the browser denies ${what}, a page follows by itself`, async (context) => {
    const browser = new Browser(context)
    deny(new DOMException("Access is denied in this context.", "SecurityError"))
    const kept = heard(browser.tab().client.watch("J"))
    await (await browser.found()).stream(snapshot("J", 1), end("J", 2))
    assert.deepEqual(kept.seqs, [1, 2])
  })
}

test("a job that ends before its turn has come in a tab is asked for once more", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watch("J"))
  heard(first.client.watch("K"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1), snapshot("K", 1))
  const two = heard(browser.tab().client.watch("J"))
  await browser.after(25) // the other tab has said what it wants
  await stream.say(end("J", 2, "job_end")) // and nobody had the time to look
  const again = await browser.found()
  assert.notEqual(again, stream)
  await again.stream(snapshot("J", 1), end("J", 2, "job_end"))
  assert.deepEqual([two.seqs, two.over], [[1, 2], true])
})

test("who comes later is told of a job that a tab has brought along", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watch("J"))
  await (await browser.found()).stream(snapshot("J", 1))
  const second = browser.tab()
  heard(second.client.watch("K"))
  await browser.found()
  await first.happen("freeze")
  await (await browser.found()).stream(snapshot("K", 1))
  await first.happen("resume") // behind the one that knows nothing of J
  const stream = await browser.found()
  const late = heard(second.client.watch("J"))
  await browser.found()
  assert.deepEqual(late.seqs, [1])
  await stream.stream(end("J", 2, "job_end"))
  assert.equal(late.updates.at(-1).job?.status, "succeeded")
})

test("who leads and has just begun is told what the others know already", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watch("A"))
  await (await browser.found()).stream(snapshot("A", 1))
  const second = browser.tab()
  heard(second.client.watch("A"))
  await browser.found()
  heard(browser.tab().client.watchMany({ tag: "x" }))
  const stream = await browser.found()
  assert.equal(stream.path, "/v1/status/stream?tag=x")
  await stream.stream({ type: "selection", jobs: 1 }, { ...snapshot("S", 1), id: "b1-1" })
  const fresh = heard(second.client.watchMany({ tag: "x" }))
  await first.happen("pagehide")
  await browser.found()
  assert.deepEqual(fresh.seqs, [1])
})

test("places that do not compare are no reason to leave anything out", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  const one = heard(first.client.watchMany({ tag: "x" }))
  await (await browser.found()).stream({ ...snapshot("S", 1), id: "b1-1" })
  const two = heard(browser.tab().client.watchMany({ tag: "x" }))
  await browser.found()
  await first.happen("freeze")
  await (await browser.found()).stream({ ...log("S", 2), id: "b2-1" }, { ...log("S", 3), id: "b2-2" })
  await first.happen("resume")
  const again = await browser.found()
  assert.equal(again.path, "/v1/status/stream?tag=x&last_event_id=b1-1")
  await again.stream({ ...log("S", 2), id: "b3-1" }, { ...log("S", 3), id: "b3-2" }, { ...log("S", 4), id: "b3-3" })
  assert.deepEqual([one.seqs, two.seqs], [[1, 2, 3, 4], [1, 2, 3, 4]])
})

test("a tab that waits as long as the server asks is not taken for asleep", async (context) => {
  const browser = new Browser(context)
  heard(browser.tab().client.watch("J"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1))
  heard(browser.tab().client.watch("J"))
  await browser.found()
  await stream.say({ type: "reconnect", reason: "unavailable", retry_ms: 120_000 })
  for (let quarter = 0; quarter < 7; quarter++) await browser.after(15_000)
  assert.equal(browser.asked.length, 1)
  await browser.after(15_000)
  assert.equal(browser.asked.length, 2)
})

test("when the network is back, a tab that nobody sees wakes for those that are seen", async (context) => {
  const browser = new Browser(context)
  const tab = browser.tab()
  heard(tab.client.watch("J"))
  ;(await browser.found()).fail(new TypeError("Failed to fetch"))
  await settled()
  browser.hidden = true
  await tab.happen("online")
  assert.equal(browser.asked.length, 2)
})

test("a worker, which has no document, hears of the network as well", async (context) => {
  const browser = new Browser(context)
  const tab = browser.tab()
  heard(tab.client.watch("J"))
  ;(await browser.found()).fail(new TypeError("Failed to fetch"))
  await settled()
  Object.assign(globalThis, { document: undefined })
  await tab.happen("online")
  assert.equal(browser.asked.length, 2)
})

test("tabs that say where they are when another has gone on hear what lies between one by one", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watch("J"))
  await (await browser.found()).stream(snapshot("J", 1))
  const others = [0, 1, 2].map(() => heard(browser.tab().client.watch("J")))
  await browser.found()
  const late = [hold(2), hold(3)]
  await first.happen("pagehide")
  await (await browser.found()).stream(log("J", 2)) // only the one that leads hears it
  for (const release of late) await release()
  const again = await browser.found()
  assert.equal(again.path, "/v1/jobs/J/status/stream?last_event_id=e-1")
  await again.stream(log("J", 2), log("J", 3), end("J", 4))
  for (const { types } of others) assert.deepEqual(types, ["snapshot", "log", "log", "end"])
})

test("so do those that follow a selection, whose places have other names on each stream", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watchMany({ tag: "x" }))
  await (await browser.found()).stream({ ...snapshot("S", 1), id: "b1-1" })
  const others = [0, 1, 2].map(() => heard(browser.tab().client.watchMany({ tag: "x" })))
  await browser.found()
  const late = [hold(2), hold(3)]
  await first.happen("pagehide")
  await (await browser.found()).stream({ ...log("S", 2), id: "b2-1" })
  for (const release of late) await release()
  const again = await browser.found()
  assert.equal(again.path, "/v1/status/stream?tag=x&last_event_id=b1-1")
  await again.stream({ ...log("S", 2), id: "b3-1" }, { ...log("S", 3), id: "b3-2" }, end("S", 4, "job_end"))
  for (const { types } of others) assert.deepEqual(types, ["snapshot", "log", "log", "job_end"])
})

test("the last words of a tab that led are for nobody who listens to another by now", async (context) => {
  const browser = new Browser(context)
  const first = heard(browser.tab().client.watch("J"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1))
  const others = [0, 1].map(() => heard(browser.tab().client.watch("J")))
  await browser.found()
  const release = hold(0)
  await stream.say(log("J", 2), log("J", 3)) // that is all that it does before it falls asleep
  await browser.after(68_000)
  await release(1) // while nobody has begun anything for the others
  await browser.found()
  await release()
  const again = await browser.found()
  assert.equal(again.path, "/v1/jobs/J/status/stream?last_event_id=e-1")
  await again.stream(log("J", 2), log("J", 3), end("J", 4))
  for (const { types } of [first, ...others]) assert.deepEqual(types, ["snapshot", "log", "log", "end"])
})

test("a tab that led and has not heard that it does not any more stops when it hears of another", async (context) => {
  const browser = new Browser(context)
  const first = heard(browser.tab().client.watch("J"))
  const stream = await browser.found()
  await stream.stream(snapshot("J", 1))
  const second = heard(browser.tab().client.watch("J"))
  await browser.found()
  hold(0) // it sleeps, and nobody tells it that the lock is gone
  for (const lock of /** @type {any} */ (navigator).locks.held.values()) lock.lose = () => {}
  await browser.after(68_000)
  const next = await browser.found()
  assert.ok(stream.aborted)
  await next.stream(log("J", 2), end("J", 3))
  for (const { types } of [first, second]) assert.deepEqual(types, ["snapshot", "log", "end"])
})

test("who leads and was told by another where things stand goes on from there when it comes back", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watch("J"))
  await (await browser.found()).stream(snapshot("J", 1))
  const second = browser.tab()
  heard(second.client.watch("A"))
  await browser.found()
  heard(browser.tab().client.watch("J"))
  await browser.found()
  const fresh = heard(second.client.watch("J"))
  const release = hold(2)
  await first.happen("pagehide")
  await browser.found()
  await release()
  await browser.found()
  assert.deepEqual(fresh.types, ["snapshot"])
  await second.happen("freeze")
  await (await browser.found()).stream(log("J", 2), log("J", 3))
  await second.happen("resume")
  const stream = await browser.found()
  assert.match(decodeURIComponent(stream.path), /J@e-1/)
  await stream.stream(log("J", 2), log("J", 3))
  assert.deepEqual(fresh.types, ["snapshot", "log", "log"])
})

test("who was told what another has brought along goes on from there when it comes back", async (context) => {
  const browser = new Browser(context)
  const first = browser.tab()
  heard(first.client.watch("J"))
  await (await browser.found()).stream(snapshot("J", 1))
  heard(browser.tab().client.watch("A"))
  heard(browser.tab().client.watch("J"))
  await browser.found()
  const release = hold(2)
  await first.happen("pagehide")
  await browser.found()
  const tab = browser.tab()
  const fresh = heard(tab.client.watch("J"))
  await browser.found()
  await release()
  await browser.found()
  assert.deepEqual(fresh.types, ["snapshot"])
  await tab.happen("freeze")
  await browser.asked[browser.asked.length - 1].stream(log("J", 2), log("J", 3))
  await tab.happen("resume")
  const stream = await browser.found()
  assert.match(decodeURIComponent(stream.path), /J@e-1/)
  await stream.stream(log("J", 2), log("J", 3))
  assert.deepEqual(fresh.types, ["snapshot", "log", "log"])
})
