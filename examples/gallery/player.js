/**
 * A client that plays transcripts instead of asking a server: for pages that show what a job can look like.
 * @module
 */

import { fold } from "../../frontend/src/fold.js"

/** @typedef {import("../../frontend/src/fold.js").JobEvent} JobEvent */

/**
 * An event of a job, or what becomes of the connection.
 * @typedef {JobEvent | {connection: string, problem?: string}} Line
 */

export class Player {
  /** @param {Record<string, Line[]>} transcripts  by job id */
  constructor(transcripts) {
    this.transcripts = transcripts
  }

  /** @param {string} id */
  watch(id) {
    return new Playing(this.transcripts, [id])
  }

  /** @param {{ids?: string[], tag?: string}} which */
  watchMany({ ids, tag }) {
    const tagged = Object.keys(this.transcripts).filter((id) => tagsOf(this.transcripts[id]).includes(tag))
    return new Playing(this.transcripts, ids ?? tagged, true)
  }

  /** @param {string} id */
  async cancel(id) {
    void id
    return "requested"
  }

  /** @param {string} id */
  async retry(id) {
    const again = `${id}-again`
    const first = this.transcripts[id][0]
    const job = { ...first.job, id: again, retry_of: id, status: "queued", attempt: 0, queue_position: 1 }
    this.transcripts[again] = [{ ...first, job_id: again, job }]
    return fold(null, this.transcripts[again][0])
  }
}

class Playing extends EventTarget {
  #over = false

  /**
   * @param {Record<string, Line[]>} transcripts
   * @param {string[]} ids
   * @param {boolean} [many]
   */
  constructor(transcripts, ids, many = false) {
    super()
    queueMicrotask(() => {
      for (const id of ids) this.#play(id, transcripts[id] ?? [], many)
      if (many) this.#tell({ id: null, job: null, event: null, connection: ids.length ? "live" : "ended", problem: null })
    })
  }

  /**
   * @param {string} id
   * @param {Line[]} lines
   * @param {boolean} many
   */
  #play(id, lines, many) {
    let [job, connection, problem] = [null, "live", null]
    for (const line of lines) {
      const event = "type" in line ? line : null
      if (event) job = fold(job, event)
      else ({ connection, problem = null } = line)
      this.#tell({ ...(many && { id }), job, event, connection: job?.done && !many ? "ended" : connection, problem })
    }
  }

  #tell(detail) {
    if (!this.#over) this.dispatchEvent(new CustomEvent("update", { detail }))
  }

  close() {
    this.#over = true
  }
}

/** @param {Line[]} lines */
function tagsOf(lines) {
  return lines[0]?.job?.tags ?? []
}
