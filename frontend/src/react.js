/**
 * A job in a React component. React is a peer: this entry is the only one that imports it.
 * @module
 */

import { useCallback, useMemo, useSyncExternalStore } from "react"
import { CONNECTING, sharedClient } from "./client.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./watch.js").Update} Update */
/** @typedef {import("./watch.js").Connection} Connection */

/**
 * Follow a job while the component is mounted. What the job does and what the connection does are told apart: a lost
 * connection is not a lost job, and `job` stays as it was last seen.
 * @param {string | null | undefined} id  nothing is followed without one
 * @param {{client?: Milepost}} [options]  the page's own client by default
 * @returns {{job: Job | null, connection: Connection, problem: string | null,
 *   cancel: () => Promise<"cancelled" | "requested" | "already_done">, retry: () => Promise<Job>}}  `problem` is a sentence on what is
 *   wrong with the connection. `cancel` and `retry` throw `Problem`; `retry` gives the new job, whose id is yours to keep
 */
export function useJob(id, { client } = {}) {
  const followed = useMemo(() => new Followed(id, client), [id, client])
  const { job, connection, problem } = useSyncExternalStore(followed.subscribe, followed.read, () => CONNECTING)
  const cancel = useCallback(() => followed.client.cancel(followed.id), [followed])
  const retry = useCallback(() => followed.client.retry(followed.id), [followed])
  return { job, connection, problem, cancel, retry }
}

/** One job, as a store that React can read: it asks for nothing before somebody subscribes. */
class Followed {
  #update = CONNECTING

  /**
   * @param {string | null | undefined} id
   * @param {Milepost | undefined} client
   */
  constructor(id, client) {
    this.id = id ?? ""
    this.given = client
  }

  /** Not before it is needed: where a server renders there is no page to have a client. */
  get client() {
    return this.given ?? sharedClient()
  }

  read = () => this.#update

  /** @param {() => void} changed */
  subscribe = (changed) => {
    if (!this.id || this.#update.job?.done) return () => {}
    const watch = this.client.watch(this.id)
    watch.addEventListener("update", (event) => {
      this.#update = /** @type {CustomEvent<Update>} */ (event).detail
      changed()
    })
    return () => watch.close()
  }
}
