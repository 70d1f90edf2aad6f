import assert from "node:assert/strict"
import test from "node:test"
import { submitCommand } from "../page/curl.js"
import { Backoff } from "../src/backoff.js"
import { SseDecoder } from "../src/sse.js"
import { Ticker } from "../src/ticker.js"

test("the wait doubles up to its cap, spread over all of it, and begins anew after success", () => {
  const backoff = new Backoff({ base: 100, cap: 500, random: () => 1 })
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next(), backoff.next()], [100, 200, 400, 500])
  backoff.tries = 0
  assert.equal(backoff.next(), 100)
  assert.equal(new Backoff({ random: () => 0 }).next(), 0)
})

test("one timer ticks for all, and stops when nobody wants it", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] })
  const ticker = new Ticker(1000)
  let ticks = 0
  const tick = () => (ticks += 1)
  ticker.set(tick, true)
  ticker.set(tick, true)
  context.mock.timers.tick(2000)
  ticker.set(tick, false)
  context.mock.timers.tick(2000)
  assert.equal(ticks, 2)
})

test("a command survives the shell whatever was typed", () => {
  const command = submitCommand(new URL("http://127.0.0.1:8000/v1/jobs"), "t", { text: "it's" })
  assert.ok(command.endsWith(String.raw`--json '{"task":"t","params":{"text":"it'\''s"}}'`))
})

test("frames are the same wherever the bytes are cut, and whichever line ends are mixed", () => {
  const text = "id: 1\r\ndata: a\r\n\ndata: b\r\r\n\ndata: c\n\r\ndata: d\n\n"
  const whole = new SseDecoder().feed(text)
  assert.deepEqual(whole.map(({ data }) => data), ["a", "b", "c", "d"])
  const decoder = new SseDecoder()
  assert.deepEqual([...text].flatMap((one) => decoder.feed(one)), whole)
})
