/**
 * Where a bar is drawn between two reports: on its way from where it stood to what was reported last, and never
 * beyond. It takes as long as the reports are apart, so that it neither jumps nor stands still. Pure.
 * @module
 */

/** @typedef {{from: number | null, to: number | null, at: number, ms: number}} Motion  `at` and `ms` in milliseconds */

/** Longer than this, and what is shown would be old. */
const LONGEST_MS = 1000

/** @type {Readonly<Motion>} */
export const STILL = Object.freeze({ from: null, to: null, at: -Infinity, ms: 0 })

/**
 * Where the bar is drawn at a time.
 * @param {Motion} motion
 * @param {number} now
 * @returns {number | null} null while nobody knows how far it is
 */
export function shownAt({ from, to, at, ms }, now) {
  if (from === null || to === null || now >= at + ms) return to
  return from + ((to - from) * Math.max(0, now - at)) / ms
}

/**
 * The motion that follows on a report; the same one when it says nothing new. Backwards (another attempt) and out of the
 * unknown it goes at once: on the way, the bar would show more than is true.
 * @param {Motion} motion
 * @param {number | null} to  what was reported
 * @param {number} now
 * @param {number} [longest]  milliseconds; 0 for who wants no motion
 * @returns {Motion}
 */
export function moved(motion, to, now, longest = LONGEST_MS) {
  if (to === motion.to) return motion
  const from = shownAt(motion, now)
  const forward = from !== null && to !== null && to > from
  return { from, to, at: now, ms: forward ? Math.min(longest, now - motion.at) : 0 }
}
