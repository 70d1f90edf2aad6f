/**
 * What a page follows, over one connection: its own, or that of another tab.
 *
 * Every tab knows what it wants and how far it is. One of them leads: it hears from all what they want, has the
 * connections, and says what they say. If it goes away another leads, and all go on from where each of them was.
 * @module
 */

import { isEnd } from "./fold.js"
import { Line, SILENCE_MS } from "./line.js"
import { advance, compares, isBehind, isSelection, JOBS_MOST, told } from "./plan.js"
import { canShare, join, nameOf } from "./share.js"
import { teller } from "./telling.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./http.js").Sender} Sender */
/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("./line.js").Word} Word */
/** @typedef {import("./plan.js").Known} Known */
/** @typedef {import("./watch.js").Connection} Connection */
/** @typedef {import("./watch.js").Put} Put */

/**
 * What one who follows is told.
 * @typedef {Omit<Word, "keys"> & {job: Job | null, connection: Connection, problem: string | null}} Told
 */
/** @typedef {(told: Told) => void} Take */

/**
 * @typedef {object} Topic
 * @property {Set<Take>} takers
 * @property {Map<string, Known>} jobs
 * @property {string} at
 * @property {string[]} over  ids of jobs that have ended
 * @property {{connection: Connection, problem: string | null}} status
 * @property {boolean} ready  what is said to all goes on from where this tab is
 */

/** Elements come and go in crowds. */
const SETTLE_MS = 25
/** Jobs of a selection that have ended, kept for those who begin to follow it later. */
const OVER_KEPT = 500

/** Nobody sees a worker either, but who has one there wants to hear from it. */
const isHidden = () => globalThis.document?.hidden ?? false

export class Hub {
  /** @type {Map<string, Topic>} */
  #topics = new Map()
  /** @type {Set<Line>} */
  #lines = new Set()
  /** By tab: what it wants, and where it is with that. @type {Map<string, Map<string, string>>} */
  #wants = new Map()
  /** Who wants what since the lines were last looked at. @type {[string, string, string, Topic["jobs"] | undefined][]} */
  #fresh = []
  #tab = Math.random().toString(36).slice(2)
  #leads = false
  /** The tab that leads, as far as it was heard of. @type {string | undefined} */
  #leader
  /** @type {import("./share.js").Link | null} */
  #link = null
  #joining = false
  #away = false
  #heard = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog

  #client
  #send
  #who

  /**
   * @param {Milepost} client
   * @param {Sender} send
   * @param {string} who  asks, for whom a connection is shared with other tabs; "" for nobody
   */
  constructor(client, send, who) {
    this.#client = client
    this.#send = send
    this.#who = who
    // `freeze` and `resume` happen to the document, and do not bubble.
    for (const name of ["pageshow", "resume", "online", "visibilitychange"]) {
      globalThis.addEventListener?.(name, () => this.#awake(name), true)
    }
    for (const name of ["pagehide", "freeze"]) {
      globalThis.addEventListener?.(name, () => ((this.#away = true), this.#leave()), true)
    }
  }

  /**
   * @param {string[]} keys
   * @param {boolean} many
   * @param {Put} put
   * @returns {() => void} ends it
   */
  follow(keys, many, put) {
    const take = teller(keys, many, put)
    for (const key of keys) {
      const topic = this.#topic(key)
      topic.takers.add(take)
      queueMicrotask(() => {
        retell(topic, take)
        take({ job: null, ...topic.status }) // nobody says again what has not changed
      })
    }
    this.#changed()
    return () => {
      for (const key of keys) this.#topics.get(key)?.takers.delete(take)
      this.#changed()
    }
  }

  /** @param {string} key */
  #topic(key) {
    /** @type {Topic} */
    const topic = this.#topics.get(key) ?? {
      takers: new Set(),
      jobs: new Map(),
      at: "",
      over: [],
      status: { connection: "connecting", problem: null },
      ready: false,
    }
    this.#topics.set(key, topic)
    return topic
  }

  #changed() {
    this.#timer ??= setTimeout(() => this.#settle(), SETTLE_MS)
  }

  /**
   * Make what is done fit what is wanted.
   * @param {boolean} [anew]  nobody has been told what is known here. Whoever leads may not know it, and has to tell it
   *   to those who come later
   */
  #settle(anew = false) {
    this.#timer = undefined
    if (this.#away) return
    const mine = this.#mine()
    if (!mine.size) this.#leave()
    else if (this.#leads) {
      this.#want(this.#tab, mine)
      this.#plan()
    } else if (this.#link) {
      this.#link.post({ wants: mine, known: anew ? [...this.#topics].map(([key, { jobs }]) => [key, jobs]) : [] })
    } else this.#join()
  }

  /** What is followed on this page, and how far it is; what is not is forgotten, unless others need it. */
  #mine() {
    const mine = new Map()
    for (const [key, { takers, at }] of this.#topics) {
      if (takers.size) mine.set(key, at)
      else if (!this.#leads) this.#topics.delete(key)
    }
    return mine
  }

  async #join() {
    if (this.#joining) return
    this.#joining = true
    const name = this.#who && (await canShare()) && (await nameOf(this.#client.base + this.#who))
    this.#joining = false
    if (this.#away) return
    if (name) {
      this.#link = join(name, this.#tab, {
        hear: (said) => this.#overhear(said),
        lead: () => this.#lead(),
        lost: () => this.#again(),
        gone: (tab) => (this.#wants.delete(tab), this.#changed()),
      })
      this.#listen()
    } else this.#leads = true
    this.#settle(true)
  }

  #lead() {
    this.#leads = true
    this.#link?.post({ hello: true })
    this.#changed()
  }

  /** Close what is open; others may go on. */
  #rest() {
    this.#leads = false
    this.#begun()
    this.#wants.clear()
    this.#fresh = []
    for (const line of this.#lines) {
      line.at.clear()
      line.change()
    }
    this.#lines.clear()
  }

  /** Another tab leads, since this one was silent for too long. */
  #again() {
    this.#leave()
    this.#changed()
  }

  #leave() {
    this.#rest()
    clearTimeout(this.#watchdog)
    this.#link?.leave()
    this.#link = null
    this.#leader = undefined
    this.#mine()
  }

  /** @param {string} why */
  #awake(why) {
    if (why === "pageshow" || why === "resume") {
      this.#away = false
      this.#changed()
    }
    const hidden = isHidden()
    if (hidden && why !== "online") return // a tab that is not seen may have the connection of one that is
    for (const line of this.#lines) line.wake()
    if (!hidden && !this.#leads && Date.now() - this.#heard > SILENCE_MS) this.#link?.steal()
  }

  /** A tab that has the connection and says nothing for too long sleeps with the lock in its hand. */
  #listen() {
    clearTimeout(this.#watchdog)
    this.#heard = Date.now()
    this.#watchdog = setTimeout(() => isHidden() || this.#leads || this.#link?.steal(), SILENCE_MS * 1.5)
  }

  /**
   * What is said to all is for those who are level with the one who says it: who comes behind has to wait for its turn,
   * or it would hear the latest first and take what it lacks for what it knows.
   * @param {Iterable<string>} [keys]
   * @param {boolean} [ready]
   */
  #begun(keys = this.#topics.keys(), ready = false) {
    for (const key of keys) {
      const topic = this.#topics.get(key)
      if (topic) topic.ready = ready
    }
  }

  /** @param {any} said  by another tab */
  #overhear(said) {
    const { from, wants, known, hello, to } = said
    if (this.#leads) {
      if (hello) this.#again() // this tab was not told yet that the lock was taken from it
      if (!wants) return
      this.#want(from, wants, known)
      this.#changed()
    }
    if (wants) return
    this.#listen()
    if (hello) {
      this.#leader = from
      this.#begun()
      this.#settle(true)
    } else if (!to || to === this.#tab) {
      if (to) this.#leader ??= from
      if (from !== this.#leader) return // it led before: what it said meanwhile was not heard, and is in between
      if (to) this.#begun(said.keys, true)
      this.#hear(said)
    }
  }

  /**
   * @param {string} tab
   * @param {Map<string, string>} wants
   * @param {Iterable<[string, Topic["jobs"]]>} [known]  by key
   */
  #want(tab, wants, known) {
    const before = this.#wants.get(tab)
    if (!before && tab !== this.#tab) this.#link?.until(tab)
    this.#wants.set(tab, wants)
    const jobs = new Map(known)
    for (const [key, at] of wants) if (!before?.has(key)) this.#fresh.push([tab, key, at, jobs.get(key)])
  }

  /** Bring the lines to what all tabs want. */
  #plan() {
    const wanted = new Set([...this.#wants.values()].flatMap((wants) => [...wants.keys()]))
    for (const key of this.#topics.keys()) if (!wanted.has(key)) this.#topics.delete(key)
    /** @type {Set<Line>} */
    const changed = new Set()
    for (const line of this.#lines) {
      for (const key of line.at.keys()) if (!wanted.has(key) && line.at.delete(key)) changed.add(line)
    }
    for (const [tab, key, at, jobs] of this.#fresh.splice(0)) {
      if (wanted.has(key)) this.#begin(tab, key, at, changed, jobs)
    }
    for (const line of changed) line.change()
    for (const line of this.#lines) if (!line.at.size) this.#lines.delete(line)
  }

  /**
   * @param {string} tab
   * @param {string} key
   * @param {string} at
   * @param {Set<Line>} changed  what has to go on from another place
   * @param {Topic["jobs"]} [jobs]  what the tab knows
   */
  #begin(tab, key, at, changed, jobs) {
    const topic = this.#topic(key)
    // Not before this tab goes on from there: what it hears until then begins with a snapshot.
    if (jobs && !topic.jobs.size && !topic.at) {
      topic.jobs = jobs
      topic.at = at
      for (const take of topic.takers) retell(topic, take)
    }
    const lines = [...this.#lines]
    let line = lines.find((one) => one.at.has(key))
    const place = line?.at.get(key)
    const same = place && compares(at, place)
    // Who may lack something hears it, but for two at once of which nobody knows who has seen more.
    const level = line && (!at || (place && (same || changed.has(line)) && !isBehind(at, place)))
    line ??= isSelection(key) ? undefined : lines.find(hasRoom)
    if (!line) this.#lines.add((line = new Line(this.#client, this.#send, (word) => this.#say(word))))
    this.#say({ to: tab, keys: [key], ...line.status }) // this begins it: see #begun
    // What is known here may lie ahead of where the line is. It is for those who know nothing yet, and for those of whom
    // nobody knows where they are: all others hear what lies between, and would take it for known.
    const how = level ? !same && { to: tab, at: place } : at && !place && { spare: true }
    if (how) {
      for (const event of retold(topic)) this.#say({ keys: [key], event, ...how })
      this.#say({ keys: [key], at, ...how }) // last: who is somewhere takes nothing that is spare
    }
    if (level) return
    line.at.set(key, at)
    changed.add(line)
  }

  /** @param {Word & {to?: string}} word */
  #say(word) {
    if (word.to !== this.#tab && this.#wants.size > 1) this.#link?.post(word)
    if (!word.to || word.to === this.#tab) this.#hear(word)
  }

  /** @param {Word} word */
  #hear({ keys, event, at, connection, problem = null, refusal, spare }) {
    for (const key of keys) {
      const topic = this.#topics.get(key)
      if (!topic || !(topic.ready || this.#leads)) continue
      if (spare && topic.at) continue
      if (connection) topic.status = { connection, problem }
      if (at && !isBehind(at, topic.at)) topic.at = at
      const id = event?.job_id
      const known = id && advance(topic.jobs.get(id), event)
      if (known === null) continue
      const job = known ? known.job : null
      // Who comes later hears nothing of a job that is gone; should one of that id come again, it is another.
      if (event?.type === "job_missing") topic.jobs.delete(id ?? "")
      else if (known) keep(topic, String(id), known)
      if (refusal || (event && isEnd(event) && !(isSelection(key) && event.job_id))) {
        this.#topics.delete(key)
        for (const [tab, wants] of this.#wants) {
          // For whom it was not begun yet does not hear the end of it either.
          if (!this.#fresh.some(([who, what]) => who === tab && what === key)) wants.delete(key)
        }
        this.#changed()
      }
      for (const take of topic.takers) take({ event, job, refusal, ...topic.status })
    }
  }
}

/** @param {Line} line */
function hasRoom({ at }) {
  const [first] = at.keys()
  return at.size > 0 && at.size < JOBS_MOST && !isSelection(first)
}

/**
 * @param {Topic} topic
 * @param {string} id
 * @param {Known} known
 */
function keep({ jobs, over }, id, known) {
  const news = known.over && !jobs.get(id)?.over
  jobs.set(id, known)
  if (news && over.push(id) > OVER_KEPT) jobs.delete(String(over.shift()))
}

/**
 * @param {Topic} topic
 * @param {Take} take
 */
function retell(topic, take) {
  for (const event of retold(topic)) take({ event, job: event.job, ...topic.status })
}

/**
 * What is known, for who comes later.
 * @param {Topic} topic
 */
function* retold({ jobs }) {
  for (const { job, seq, epoch, over } of jobs.values()) {
    if (job && over) yield* told(job)
    else if (job) yield { ...told(job)[0], seq, ...(epoch && { cursor: `${epoch}-${seq}` }) }
  }
}
