import assert from "node:assert/strict"
import test from "node:test"
import * as format from "../src/format.js"

/**
 * @param {string} title
 * @param {(...given: any[]) => string} say
 * @param {[any[], string][]} cases
 */
function table(title, say, cases) {
  for (const [given, expected] of cases) {
    test(`${title}: ${JSON.stringify(given)} is ${JSON.stringify(expected)}`, () => assert.equal(say(...given), expected))
  }
}

table("a number has three figures, a whole one all of them", format.number, [
  [[0], "0"],
  [[1234567], "1,234,567"],
  [[12.345], "12.3"],
  [[0.04217], "0.0422"],
  [[1234.5], "1,235"],
  [[-1234.6], "-1,235"],
])

table("bytes come in powers of 1000", format.bytes, [
  [[0], "0 B"],
  [[999], "999 B"],
  [[1000], "1.0 kB"],
  [[1536], "1.5 kB"],
  [[999_960], "1.0 MB"],
  [[34_000_000], "34.0 MB"],
  [[2.5e18], "2500.0 PB"],
])

table("how much of how much", format.counted, [
  [[null, null, null], ""],
  [[null, 10, "rows"], ""],
  [[340, 1000, "rows"], "340 of 1,000 rows"],
  [[340, null, "rows"], "340 rows"],
  [[3, 4, null], "3 of 4"],
  [[1_500_000, 3_000_000, "bytes"], "1.5 MB of 3.0 MB"],
])

table("a percentage is never rounded up: 100% is success alone", format.percentage, [
  [[null], ""],
  [[0], "0%"],
  [[34.99], "34%"],
  [[99.9], "99%"],
  [[100], "100%"],
])

table("a rate is told per the unit of time that makes it readable", format.rate, [
  [[null, "rows"], ""],
  [[0, "rows"], ""],
  [[9.34, "rows"], "9.3 rows/s"],
  [[4, "steps"], "4.0 steps/s"],
  [[12_345, "rows"], "12,000 rows/s"],
  [[0.5, "files"], "30 files/min"],
  [[0.01, "files"], "36 files/h"],
  [[2_500_000, "bytes"], "2.5 MB/s"],
  [[3, null], "3.0/s"],
  [[Infinity, null], ""],
])

table("a duration", format.duration, [
  [[0.04], "0.0 s"],
  [[9.94], "9.9 s"],
  [[9.96], "10 s"],
  [[59.4], "59 s"],
  [[59.6], "1 min"],
  [[185], "3 min 5 s"],
  [[3600], "1 h"],
  [[4805], "1 h 20 min"],
  [[187_200], "2 d 4 h"],
])

table("time left is told as precisely as anybody can know it", format.timeLeft, [
  [[null], ""],
  [[-1], ""],
  [[0], ""],
  [[0.2], "1 s left"],
  [[7.2], "8 s left"],
  [[54.9], "55 s left"],
  [[56], "1 min left"],
  [[119], "2 min left"],
  [[3569], "59 min left"],
  [[3580], "1 h left"],
  [[4810], "1 h 20 min left"],
  [[90_000], "1 d 1 h left"],
])

test("between two times lie seconds, never fewer than none", () => {
  assert.equal(format.secondsBetween("2026-11-21T08:00:00.000Z", "2026-11-21T08:00:02.500Z"), 2.5)
  assert.equal(format.secondsBetween("2026-11-21T08:00:00Z", "2026-11-21T07:59:00Z"), 0)
  assert.equal(format.secondsBetween("2026-11-21T08:00:00Z", null), null)
  assert.equal(format.secondsBetween("nonsense", 0), null)
})
