/** The contract with clients, held against this one: see contract/README.md. */

import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import test from "node:test"
import { fold } from "../src/fold.js"
import { SseDecoder } from "../src/sse.js"

const FOLDER = new URL("../../contract/", import.meta.url)

/** @param {string} kind */
function cases(kind) {
  const names = readdirSync(new URL(`${kind}/`, FOLDER)).filter((name) => name.endsWith(".json"))
  return names.map((name) => JSON.parse(readFileSync(new URL(`${kind}/${name}`, FOLDER), "utf-8")))
}

test("no transcript and no case of bytes is lost", () => {
  assert.ok(cases("transcripts").length >= 14)
  assert.ok(cases("bytes").length >= 22)
})

for (const { name, why, events, snapshots } of cases("transcripts")) {
  test(`transcript ${name}: ${why}`, () => {
    let job = null
    for (const [index, event] of events.entries()) {
      job = fold(job, event)
      // A later version may tell more of a job than was promised then (contract/README.md).
      const promised = Object.keys(snapshots[index]).map((field) => [field, job[field]])
      assert.deepEqual(Object.fromEntries(promised), snapshots[index], `after event ${index}, ${event.type}`)
    }
  })
}

/** @param {(Uint8Array | string)[]} chunks */
function decode(chunks) {
  const decoder = new SseDecoder()
  const frames = chunks.flatMap((chunk) => decoder.feed(chunk))
  return { frames, last_event_id: decoder.lastEventId, retry_ms: decoder.retryMs }
}

for (const { name, why, chunks, ...expected } of cases("bytes")) {
  const given = chunks.map((chunk) => Buffer.from(chunk, "base64"))
  const whole = Buffer.concat(given)
  const { frames, last_event_id, retry_ms } = expected
  const outcome = { frames, last_event_id, retry_ms }

  test(`bytes ${name}: ${why}`, () => assert.deepEqual(decode(given), outcome))

  test(`bytes ${name}, cut in two at every place`, () => {
    for (let at = 0; at <= whole.length; at++) {
      assert.deepEqual(decode([whole.subarray(0, at), whole.subarray(at)]), outcome, `cut at ${at}`)
    }
  })

  test(`bytes ${name}, a byte at a time`, () => {
    assert.deepEqual(decode([...whole].map((byte) => Uint8Array.of(byte))), outcome)
  })

  test(`bytes ${name}, as text`, () => {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(whole)
    assert.deepEqual(decode([...text]), outcome)
  })
}
