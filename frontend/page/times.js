/** Moments and spans as the page shows them: in the reader's zone, exact on hover. */

import { duration, secondsBetween } from "../src/format.js"
import { make } from "./dom.js"

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" })
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" })

/**
 * @param {string | null} at  RFC 3339
 * @param {number} [now]  ms since 1970
 * @returns {HTMLTimeElement | string}  `14:03:07`, `21 Nov, 14:03`; a dash for none
 */
export function when(at, now = Date.now()) {
  if (at === null) return "–"
  return make("time", { datetime: at, title: exactly(at) }, shortly(at, now))
}

/**
 * @param {string} at
 * @param {number} [now]
 */
export function shortly(at, now = Date.now()) {
  const date = new Date(at)
  return (date.toDateString() === new Date(now).toDateString() ? CLOCK : DAY).format(date)
}

/** @param {string} at */
export function exactly(at) {
  return `${EXACT.format(new Date(at))} (${at})`
}

/**
 * How long something took, or has taken so far.
 * @param {string | null} from
 * @param {string | number | null} to
 */
export function span(from, to) {
  const seconds = secondsBetween(from, to)
  return seconds === null ? "–" : duration(seconds)
}

/**
 * @param {number} seconds
 * @returns {string} to the millisecond where tenths of a second would all be the same
 */
export function brief(seconds) {
  return seconds < 0.95 ? `${Math.round(seconds * 1000)} ms` : duration(seconds)
}
