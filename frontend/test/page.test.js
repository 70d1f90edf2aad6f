/** The pure rules of the page: filters and addresses, the story of a history, buckets of time. */

import assert from "node:assert/strict"
import { test } from "node:test"

import { bucketsOf, quantile } from "../page/buckets.js"
import { whatCancelDoes } from "../page/actions.js"
import { filterOf, isEmpty, matches, newestFirst, queryOf, wire, wireOfAll } from "../page/filters.js"
import { href, routeOf } from "../page/router.js"
import { Session } from "../page/session.js"
import { stretches } from "../page/story.js"
import { brief } from "../page/times.js"
import { readJob } from "../src/job.js"

const job = (more) => readJob({ id: "j", task: "demo.count", created_at: "2026-01-01T00:00:00.000Z", ...more })

test("a filter comes back from its address as it was, without what nobody knows", () => {
  const query = new URLSearchParams("status=failed&status=nonsense&tag=a%20b&q=%20text%20&x=1")
  const filter = filterOf(query)
  assert.deepEqual(filter, { status: ["failed"], task: "", queue: "", tag: "a b", batch: "", q: "text" })
  assert.deepEqual(filterOf(queryOf(filter)), filter)
  assert.ok(isEmpty(filterOf(new URLSearchParams())))
})

test("text that is too short for the server is not sent and hides nothing", () => {
  const filter = filterOf(new URLSearchParams("q=ab"))
  assert.deepEqual(wire(filter), {})
  assert.ok(matches(filter, job({})))
})

test("what is done to a whole list is done to nothing that came later than its newest job", () => {
  const none = filterOf(new URLSearchParams())
  assert.deepEqual(wireOfAll(none, undefined), { all: true })
  assert.deepEqual(wireOfAll(none, job({})), { created_before: "2026-01-01T00:00:01.000Z" }) // a filter: not both
  assert.deepEqual(wireOfAll(filterOf(new URLSearchParams("tag=a")), undefined), { tag: "a" })
  assert.deepEqual(wireOfAll(filterOf(new URLSearchParams("q=abc")), job({})), { q: "abc", created_before: "2026-01-01T00:00:01.000Z" })
})

test("nothing is done to a whole list that shows more than is looked for", () => {
  for (const query of ["q=ab", "q=ab&tag=a"]) assert.equal(wireOfAll(filterOf(new URLSearchParams(query)), job({})), null)
})

test("who cancels is told what that does", () => {
  assert.match(whatCancelDoes(job({ status: "running", attempt: 1 })), /asked to stop/)
  assert.match(whatCancelDoes(job({ status: "retrying", attempt: 1 })), /not be tried again/)
  assert.match(whatCancelDoes(job({ status: "queued" })), /not begun/)
})

test("a route comes back from its link, whatever is looked for", () => {
  const at = (hash, search = "") => routeOf({ hash, search })
  for (const q of ["why?", "a#b", "a&b=c", "100%", "é / ü"]) {
    const { view, query } = at(href("jobs", "", queryOf({ q })))
    assert.deepEqual([view, filterOf(query).q], ["jobs", q])
  }
  assert.equal(at("#/jobs?q=why?").query.get("q"), "why?") // typed by hand
  assert.equal(at(href("jobs", "a/b?c")).id, "a/b?c")
  assert.deepEqual([at("").view, at("#/").view, at("#/jobs/%").id], ["jobs", "jobs", "%"])
  assert.equal(at("", "?job=a").id, "a")
  assert.equal(at("#/tasks", "?job=a").view, "tasks")
})

test("a token is taken from the address, also where the browser keeps nothing", () => {
  const replaced = []
  Object.assign(globalThis, { location: { hash: "#token=k%zz&/jobs/1", pathname: "/", search: "" } })
  globalThis.history = { replaceState: (...given) => replaced.push(given[2]) }
  try {
    const session = new Session({ getItem: () => null, setItem() {}, removeItem() {} })
    assert.deepEqual([session.credential, session.isGiven], ["k%zz", true])
    assert.deepEqual(replaced, ["/#/jobs/1"])
  } finally {
    delete globalThis.location
    delete globalThis.history
  }
})

test("what takes milliseconds is told in them", () => {
  assert.deepEqual([0, 0.0391, 0.94, 0.96, 61].map(brief), ["0 ms", "39 ms", "940 ms", "1.0 s", "1 min 1 s"])
})

test("a job is looked for by all that the server finds it by", () => {
  const ended = job({ tags: ["Eu"], metadata: { customer: "ACME" }, done: true, status: "failed", error: { code: "exception", message: "Disk full" } })
  for (const q of ["acme", "DISK FULL", "demo.c", "default"]) assert.ok(matches(filterOf(new URLSearchParams({ q })), ended), q)
  assert.ok(!matches(filterOf(new URLSearchParams({ q: "nothing" })), ended))
  assert.ok(!matches(filterOf(new URLSearchParams({ status: "running" })), ended))
  assert.ok(matches(filterOf(new URLSearchParams({ tag: "Eu", status: "failed" })), ended))
})

test("newest first, by id within a millisecond", () => {
  const [old, a, b] = [job({ id: "z", created_at: "2025-01-01T00:00:00.000Z" }), job({ id: "a" }), job({ id: "b" })]
  assert.deepEqual([old, a, b].sort(newestFirst), [b, a, old])
})

test("a history with a retry is told without a hole", () => {
  const at = (second) => `2026-01-01T00:00:0${second}.000Z`
  const events = [
    { type: "status", status: "queued", attempt: 0, at: at(0) },
    { type: "status", status: "running", attempt: 1, at: at(1), worker: "w1" },
    { type: "progress", at: at(2) },
    { type: "status", status: "retrying", attempt: 1, at: at(3), error: { message: "no" } },
    { type: "status", status: "running", attempt: 2, at: at(5), worker: "w2" },
    { type: "status", status: "running", attempt: 2, at: at(6), cancel_requested: true },
    { type: "end", status: "cancelled", attempt: 2, at: at(7) },
  ]
  const told = stretches(events, job({ done: true, status: "cancelled", finished_at: at(7) }))
  assert.deepEqual(
    told.map(({ kind, attempt, from, to, outcome }) => [kind, attempt, from.at(-6), to.at(-6), outcome]),
    [
      ["waiting", 0, "0", "1", "running"],
      ["running", 1, "1", "3", "retrying"],
      ["waiting", 1, "3", "5", "running"],
      ["running", 2, "5", "7", "cancelled"],
    ],
  )
  assert.equal(told[1].error, "no")
})

test("each job that ended in the window is counted once, where it ended", () => {
  const ended = (status, second) => job({ status, done: true, started_at: "2026-01-01T00:00:01.000Z", finished_at: new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString() })
  const from = Date.UTC(2026, 0, 1)
  const buckets = bucketsOf([ended("succeeded", 3), ended("failed", 19), ended("expired", 20), job({})], { from, to: from + 20_000, count: 2 })
  assert.deepEqual(buckets.map(({ succeeded, failed, other }) => [succeeded, failed, other]), [[1, 0, 0], [0, 1, 0]])
  assert.deepEqual(buckets[0].runs, [2])
  assert.deepEqual(buckets[0].waits, [1])
})

test("quantiles are values that were there", () => {
  assert.equal(quantile([], 0.5), null)
  assert.equal(quantile([3, 1, 2], 0.5), 2)
  assert.equal(quantile([1, 2, 3, 4], 0.95), 4)
})
