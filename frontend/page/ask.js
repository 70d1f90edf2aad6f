/** What the page asks for and no other client does: in the same words, by the same rules. */

import { request, sender } from "../src/http.js"

/** @typedef {import("../src/fold.js").JobEvent} JobEvent */
/** @typedef {{params: Record<string, unknown> | null, traceback: string | null, timeout_seconds: number | null}} Details */

export class Ask {
  #send

  /**
   * @param {import("../src/client.js").Milepost} client
   * @param {string} credential
   */
  constructor(client, credential) {
    this.client = client
    this.#send = sender(credential || undefined, undefined)
  }

  /**
   * What a job says to those only who hold a key.
   * @param {string} id
   * @returns {Promise<Details>}
   * @throws {import("../src/http.js").Problem}
   */
  details(id) {
    return this.#json(`v1/jobs/${encodeURIComponent(id)}/details`, {})
  }

  /**
   * The statuses of a job and its end: its story without its words.
   * @param {string} id
   * @returns {Promise<JobEvent[]>}
   * @throws {import("../src/http.js").Problem}
   */
  async story(id) {
    return (await this.#json(`v1/jobs/${encodeURIComponent(id)}/events`, { events: "status,end", limit: 500 })).items
  }

  /**
   * @param {string} place
   * @param {Record<string, string | number>} query
   */
  #json(place, query) {
    return request(this.#send, this.client.url(place, query), {})
  }
}
