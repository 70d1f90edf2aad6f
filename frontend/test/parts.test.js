import assert from "node:assert/strict"
import test from "node:test"
import { submitCommand } from "../page/curl.js"
import { Backoff } from "../src/backoff.js"
import { readJob } from "../src/job.js"
import { Mailbox } from "../src/mailbox.js"
import { poll } from "../src/poll.js"
import { Slots } from "../src/slots.js"
import { Ticker } from "../src/ticker.js"
import { Lane, wait } from "../src/wait.js"

/** @param {string} type @param {number} seq */
const item = (type, seq) => /** @type {const} */ ({ kind: "event", event: { type, seq } })

/** @param {Mailbox} mailbox */
async function drained(mailbox) {
  const seqs = []
  for await (const one of mailbox) if (one.kind === "event") seqs.push(one.event.seq)
  return seqs
}

test("the wait doubles up to its cap, spread over all of it, and begins anew after success", () => {
  const backoff = new Backoff({ base: 100, cap: 500, random: () => 1 })
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next(), backoff.next()], [100, 200, 400, 500])
  backoff.reset()
  assert.equal(backoff.next(), 100)
  assert.equal(new Backoff({ random: () => 0 }).next(), 0)
})

test("a slow reader gets the latest progress and all of the rest, in order", async () => {
  const mailbox = new Mailbox()
  for (const [type, seq] of [["status", 1], ["progress", 2], ["progress", 3], ["log", 4], ["progress", 5], ["end", 6]]) {
    assert.ok(mailbox.put(item(String(type), Number(seq))))
  }
  mailbox.close()
  assert.deepEqual(await drained(mailbox), [1, 3, 4, 5, 6])
})

test("a full mailbox takes nothing more, and what it holds comes before the error", async () => {
  const mailbox = new Mailbox(2)
  assert.deepEqual([mailbox.put(item("log", 1)), mailbox.put(item("log", 2)), mailbox.put(item("log", 3))], [true, true, false])
  mailbox.fail(new Error("too slow"))
  const iterator = mailbox[Symbol.asyncIterator]()
  assert.equal((await iterator.next()).done, false)
  assert.equal((await iterator.next()).done, false)
  await assert.rejects(iterator.next(), /too slow/)
})

test("a reader that waits is woken by what arrives", async () => {
  const mailbox = new Mailbox()
  const reading = drained(mailbox)
  await new Promise(setImmediate)
  mailbox.put(item("log", 1))
  mailbox.close()
  assert.deepEqual(await reading, [1])
})

test("there are as many slots as streams are allowed, and one that is given back can be taken", async () => {
  const slots = new Slots({ count: 2, locks: null })
  const first = await slots.take()
  assert.ok(first && (await slots.take()))
  assert.equal(await slots.take(), null)
  first()
  assert.ok(await slots.take())
})

test("slots asked for at once are never handed out twice", async () => {
  const slots = new Slots({ count: 3, locks: null })
  const given = await Promise.all(Array.from({ length: 10 }, () => slots.take()))
  assert.equal(given.filter(Boolean).length, 3)
})

test("a lane runs one at a time, in order, also after a failure", async () => {
  const lane = new Lane()
  /** @type {string[]} */
  const seen = []
  const step = (/** @type {string} */ name, fail = false) => async () => {
    seen.push(`${name} begins`)
    await new Promise(setImmediate)
    seen.push(`${name} ends`)
    if (fail) throw new Error(name)
  }
  const [first, second] = await Promise.allSettled([lane.run(step("a", true)), lane.run(step("b"))])
  assert.deepEqual([first.status, second.status], ["rejected", "fulfilled"])
  assert.deepEqual(seen, ["a begins", "a ends", "b begins", "b ends"])
})

test("a wait that is called off is over at once", async () => {
  const over = new AbortController()
  const waiting = wait(3_600_000, over.signal)
  over.abort()
  await waiting
  await wait(3_600_000, over.signal)
})

test("one timer ticks for all, and stops when nobody wants it", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] })
  const ticker = new Ticker(1000)
  let ticks = 0
  const tick = () => (ticks += 1)
  ticker.add(tick)
  ticker.add(() => {})
  context.mock.timers.tick(2000)
  ticker.remove(tick)
  context.mock.timers.tick(2000)
  assert.equal(ticks, 2)
})

test("a command survives the shell whatever was typed", () => {
  const command = submitCommand(new URL("http://127.0.0.1:8000/v1/jobs"), "t", { text: "it's" })
  assert.ok(command.endsWith(String.raw`--json '{"task":"t","params":{"text":"it'\''s"}}'`))
})

/** @param {any} client @param {Record<string, any>} job */
async function polled(client, job) {
  const seen = []
  for await (const one of poll(client, "J", "e-1", readJob({ id: "J", task: "t", ...job }))) {
    seen.push(one.kind === "event" ? one.event : one.kind)
  }
  return seen
}

test("a job that is polled for want of a connection says where it stands as well, and once", async () => {
  const waiting = { reason: "no_worker_for_queue", message: "Nobody is there." }
  const status = { cursor: "e-1", queue_position: 2, waiting }
  const client = { status: async () => status, events: () => assert.fail("nothing has happened") }
  assert.deepEqual(await polled(client, { status: "queued", queue_position: 3 }), [
    "open",
    { type: "waiting", job_id: "J", queue_position: 2, waiting },
  ])
  assert.deepEqual(await polled(client, { status: "queued", queue_position: 2, waiting }), ["open"])
})

test("what has happened to a polled job is read from its history, whether it waited or not", async () => {
  const begun = { type: "status", seq: 2, cursor: "e-2", status: "running" }
  const client = {
    status: async () => ({ cursor: "e-2", queue_position: null, waiting: null }),
    events: async () => ({ items: [begun], next: "e-2", more: false }),
  }
  assert.deepEqual(await polled(client, { status: "queued" }), ["open", "open", begun])
  assert.deepEqual(await polled({ events: client.events }, { status: "running" }), ["open", begun])
})
