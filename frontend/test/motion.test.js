import assert from "node:assert/strict"
import test from "node:test"
import { moved, shownAt, STILL } from "../src/motion.js"

/**
 * Reports of `[time, percent]`, one after the other.
 * @param {[number, number | null][]} reports
 */
function after(...reports) {
  return reports.reduce((motion, [now, percent]) => moved(motion, percent, now), STILL)
}

test("the first report is shown at once", () => {
  assert.equal(shownAt(after([0, 40]), 0), 40)
})

test("the bar takes as long to a report as the last one is old", () => {
  const motion = after([0, 10], [200, 20])
  assert.deepEqual([200, 300, 400, 9999].map((now) => shownAt(motion, now)), [10, 15, 20, 20])
})

test("it takes a second at most", () => {
  const motion = after([0, 10], [60_000, 20])
  assert.deepEqual([60_000, 60_500, 61_000].map((now) => shownAt(motion, now)), [10, 15, 20])
})

test("a report in the middle of the way goes on from where the bar is", () => {
  const motion = after([0, 0], [1000, 10], [1500, 30])
  assert.deepEqual([1500, 1750, 2000].map((now) => shownAt(motion, now)), [5, 17.5, 30])
})

test("backwards it goes at once: another attempt begins at nothing", () => {
  assert.equal(shownAt(after([0, 10], [1000, 90], [1500, 0]), 1500), 0)
})

test("into the unknown and out of it, it goes at once", () => {
  assert.equal(shownAt(after([0, 10], [1000, null]), 1000), null)
  assert.equal(shownAt(after([0, null], [1000, 50]), 1000), 50)
})

test("the same report again is the same motion", () => {
  const motion = after([0, 10], [1000, 20])
  assert.equal(moved(motion, 20, 1500), motion)
})

test("without motion every report is shown at once", () => {
  assert.equal(shownAt(moved(after([0, 10]), 50, 1000, 0), 1000), 50)
})

test("whatever is reported when, the bar is never beyond the last report, and never goes back but with one", () => {
  let seed = 7
  const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647
  let [motion, now, before] = [STILL, 0, /** @type {number | null} */ (null)]
  for (let report = 0; report < 2000; report++) {
    const percent = random() < 0.05 ? null : random() * 100
    motion = moved(motion, percent, now)
    before = null
    for (const end = now + random() * 1500; now < end; now += 16) {
      const shown = shownAt(motion, now)
      if (percent === null) assert.equal(shown, null)
      else assert.ok(shown !== null && shown <= percent && (before === null || shown >= before), `${shown} of ${percent}`)
      before = shown
    }
  }
})
