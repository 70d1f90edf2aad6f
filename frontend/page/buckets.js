/** Jobs that have ended, put into stretches of time: how many, how long they waited and ran. Pure. */

import { secondsBetween } from "../src/format.js"

/** @typedef {import("../src/job.js").Job} Job */
/**
 * @typedef {{from: number, to: number, succeeded: number, failed: number, other: number, waits: number[], runs: number[]}} Bucket
 */

/**
 * @param {Iterable<Job>} jobs
 * @param {{from: number, to: number, count: number}} window  ms since 1970
 * @returns {Bucket[]}
 */
export function bucketsOf(jobs, { from, to, count }) {
  const width = (to - from) / count
  /** @type {Bucket[]} */
  const buckets = Array.from({ length: count }, (_, place) => ({
    from: from + place * width,
    to: from + (place + 1) * width,
    succeeded: 0,
    failed: 0,
    other: 0,
    waits: [],
    runs: [],
  }))
  for (const job of jobs) {
    const at = job.finished_at ? Date.parse(job.finished_at) : NaN
    if (!(at >= from && at < to)) continue
    add(buckets[Math.min(count - 1, Math.floor((at - from) / width))], job)
  }
  return buckets
}

/**
 * @param {Bucket} bucket
 * @param {Job} job
 */
function add(bucket, job) {
  bucket[job.status === "succeeded" ? "succeeded" : job.status === "failed" ? "failed" : "other"] += 1
  const ran = secondsBetween(job.started_at, job.finished_at)
  // Who asked for a later time has not waited until then.
  const waited = job.run_at === null ? secondsBetween(job.created_at, job.started_at) : null
  if (ran !== null) bucket.runs.push(ran)
  if (waited !== null) bucket.waits.push(waited)
}

/**
 * @param {number[]} values
 * @param {number} part  0.5 is the median
 * @returns {number | null} the nearest rank; null of nothing
 */
export function quantile(values, part) {
  if (values.length === 0) return null
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]
}
