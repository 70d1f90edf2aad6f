/** Tabs that share a connection, in histories that nobody thought of: dice say what happens next. */

import assert from "node:assert/strict"
import test from "node:test"
import { end, heard, log, snapshot } from "./fake.js"
import { Browser, Channel, hold } from "./fake-browser.js"

/** The same numbers each time (https://en.wikipedia.org/wiki/Linear_congruential_generator). @param {number} seed */
function dice(seed) {
  let state = seed
  return (/** @type {number} */ sides) => Math.floor(((state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32) * sides)
}

/** A job whose streams go on after the place that they were asked for, and hear all that comes. */
class Job {
  last = 1
  /** @type {Set<import("./fake.js").Asked>} */
  #streams = new Set()

  /** @param {Browser} browser */
  async answer({ asked }) {
    for (const one of asked.filter((each) => !each.aborted && !this.#streams.has(each))) {
      this.#streams.add(one)
      const after = Number(/e-(\d+)/.exec(one.path)?.[1] ?? 0)
      const missed = Array.from({ length: this.last - after }, (_, index) => log("J", after + 1 + index))
      await one.stream(...(after ? missed : [snapshot("J", this.last)]))
    }
  }

  /** @param {(seq: number) => object} make */
  async says(make) {
    this.last += 1
    for (const one of this.#streams) if (!one.aborted) await one.say(make(this.last))
  }
}

for (let seed = 1; seed <= 40; seed++) {
  test(`tabs come, go and are slow in whatever order, and each that stays hears all: number ${seed}`, async (context) => {
    const [browser, job, roll] = [new Browser(context), new Job(), dice(seed)]
    /** @type {{tab: ReturnType<Browser["tab"]>, kept: ReturnType<typeof heard>, away: boolean}[]} */
    let tabs = []
    /** @type {(() => Promise<void>)[]} */
    let underWay = []
    const arrive = async () => {
      for (const release of underWay.splice(0)) await release()
    }
    const come = () => {
      const tab = browser.tab()
      tabs.push({ tab, kept: heard(tab.client.watch("J")), away: false })
    }
    const happenings = [
      come,
      () => job.says((seq) => log("J", seq)),
      () => job.says((seq) => log("J", seq)),
      () => {
        const place = roll(Channel.all.size || 1)
        const channel = [...Channel.all][place]
        if (channel && !Object.hasOwn(channel, "postMessage")) underWay.push(hold(place))
      },
      arrive,
      async () => {
        const [gone] = tabs.length > 2 ? tabs.splice(roll(tabs.length), 1) : []
        await gone?.tab.happen("pagehide")
      },
      async () => {
        const one = tabs[roll(tabs.length)]
        await arrive()
        await one.tab.happen(one.away ? "resume" : "freeze")
        one.away = !one.away
      },
    ]
    for (const begin of [come, come, come]) begin()
    await browser.found()
    for (let step = 0; step < 60; step++) {
      await happenings[roll(happenings.length)]()
      if (roll(2)) await browser.after(25)
      if (roll(2)) await job.answer(browser)
    }
    await arrive()
    for (const { tab, away } of tabs) if (away) await tab.happen("resume")
    for (let turn = 0; turn < 4; turn++) await browser.found(), await job.answer(browser)
    await job.says((seq) => end("J", seq))
    for (const { kept } of tabs) {
      const [first] = kept.seqs
      assert.deepEqual(kept.seqs, Array.from({ length: job.last - first + 1 }, (_, index) => first + index))
      assert.equal(kept.types.filter((type) => type === "snapshot").length, 1)
      assert.ok(kept.over)
    }
  })
}
