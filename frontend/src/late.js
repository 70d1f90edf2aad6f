/**
 * What follows jobs, loaded when the first watch of a page asks for it: who only submits and looks never waits for it.
 * @module
 */

import { Backoff } from "./backoff.js"

/** @typedef {import("./hub.js").Hub} Hub */
/** @typedef {import("./watch.js").Put} Put */
/** @typedef {import("./watch.js").Update} Update */
/** @typedef {(keys: string[], many: boolean, put: Put) => () => void} Follow  what it returns ends it */

/** Those who wait for it. @type {Set<Put>} */
const waiting = new Set()
/** @type {Promise<typeof import("./hub.js")> | undefined} */
let loading
/** @type {Update | undefined} */
let trouble

/**
 * Return a `follow` that can be called at once.
 * @param {(module: typeof import("./hub.js")) => Hub} make
 * @returns {Follow}
 */
export function late(make) {
  /** @type {Hub | undefined} */
  let hub
  return (keys, many, put) => {
    /** @type {() => void} */
    let leave = () => waiting.delete(put)
    waiting.add(put)
    loading ??= load(() => import("./hub.js"), lost)
    loading.then((module) => {
      if (waiting.delete(put)) leave = (hub ??= make(module)).follow(keys, many, put)
    })
    queueMicrotask(() => trouble && waiting.has(put) && put(trouble))
    return () => leave()
  }
}

/** @param {string} problem */
function lost(problem) {
  trouble = { job: null, event: null, connection: "reconnecting", problem }
  for (const put of waiting) put(trouble)
}

/**
 * Load a module, for as long as it takes: servers restart, and networks come back.
 * @template M
 * @param {() => Promise<M>} first
 * @param {(problem: string) => void} failed  called each time
 * @returns {Promise<M>}
 */
export async function load(first, failed) {
  const backoff = new Backoff({ base: 1000 })
  /** @type {(nothing?: any) => void} */
  let wake = () => {}
  for (const name of ["online", "pageshow"]) globalThis.addEventListener?.(name, () => wake())
  for (let address; ; ) {
    try {
      return await (address ? import(/* webpackIgnore: true */ /* @vite-ignore */ address) : first())
    } catch (error) {
      // Some browsers remember what failed under its address, which only their error knows once a bundler has been there.
      // What is no matter of the network is none for a bar to tell: it may be over, behind a proxy that makes pages up, or not.
      if (!(error instanceof TypeError)) console.error(error)
      const pause = backoff.next()
      const [url] = /https?:[^?\s]+/.exec(`${error}`) ?? []
      address = url && `${url}?again=${backoff.tries}`
      failed("A part of this page could not be loaded.")
      await new Promise((resolve) => setTimeout((wake = resolve), pause))
    }
  }
}
