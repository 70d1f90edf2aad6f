/** What all parts of the page share: the client, the live list, who is there, and which view is shown. */

import { Milepost } from "../src/index.js"
import { Problem } from "../src/http.js"
import { Access } from "./access.js"
import { Alarm } from "./alarm.js"
import { Ask } from "./ask.js"
import { NewView } from "./composer.js"
import { get, make } from "./dom.js"
import { JobView } from "./job-view.js"
import { JobsView } from "./jobs-view.js"
import { Known } from "./known.js"
import { Live } from "./live.js"
import { QueuesView } from "./queues-view.js"
import { follow, href, jobLink } from "./router.js"
import { Session } from "./session.js"
import { TasksView } from "./tasks-view.js"
import { TrendsView } from "./trends-view.js"
import { WorkersView } from "./workers-view.js"

/** @typedef {import("./router.js").Route} Route */
/** @typedef {{title: string, element: HTMLElement, show: (route: Route) => Promise<void>, close: () => void}} View */

/** @type {Record<string, new (app: App, route: Route) => View>} */
const VIEWS = { jobs: JobsView, new: NewView, tasks: TasksView, workers: WorkersView, queues: QueuesView, trends: TrendsView }
/** What a stream token opens. */
const READABLE = new Set(["jobs", "trends"])
const TOLD_MS = 8000
/** Nobody answered, or a proxy did in the server's place. */
const AWAY = new Set([0, 502, 503, 504])

export class App {
  session = new Session()
  live = new Live()
  known = new Known(this)
  #alarm = new Alarm(this)
  #main = get("main")
  #told = get("#told")
  /** @type {View | null} */
  #view = null
  #shown = ""
  /** @type {Access | null} */
  #access = null
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #telling

  constructor() {
    this.client = this.#newClient()
    this.ask = new Ask(this.client, this.session.credential)
    this.#dress()
  }

  async start() {
    addEventListener("hashchange", () => this.session.isGiven && location.reload()) // a link with a token, opened in this tab
    this.router = follow((route, first) => this.#show(route, first))
    this.live.subscribe(() => this.#pulse())
    this.#pulse()
    this.known.subscribe(() => this.#alarm.draw())
    get(".skip").addEventListener("click", (event) => {
      event.preventDefault() // the address behind the # is ours
      this.#heading()?.focus()
    })
    const following = this.#follow()
    if (!this.session.readOnly) await this.known.start()
    await following
  }

  /**
   * @param {string} address  as of `href`
   * @param {{replace?: boolean}} [how]
   */
  go(address, how) {
    this.router?.go(address, how)
  }

  /** The server has answered. */
  reached() {
    this.#alarm.trouble = ""
    this.#alarm.draw()
  }

  /**
   * Something was refused. A refusal for want of a key asks for one; what the page asks for by itself, it asks for again.
   * @param {Problem} problem
   * @param {string} [what]  that somebody has asked for, which is not done then
   */
  failed(problem, what = "") {
    if (problem.status === 401) return this.#ask(this.session.credential ? problem.message : "")
    if (AWAY.has(problem.status) && !what) {
      this.#alarm.trouble = `${problem.message} Trying again.`
      return this.#alarm.draw()
    }
    this.say(`${what}${problem.message}`, { bad: true })
  }

  /**
   * Tell what has happened, for eyes and ears, for a while.
   * @param {string} sentence
   * @param {{link?: string, bad?: boolean}} [options]  `link`: the id of a job
   */
  say(sentence, { link, bad = false } = {}) {
    const more = link ? [" ", jobLink(link, "Open it")] : []
    const told = make("p", { "data-bad": bad }, sentence, ...more)
    // Said again while it stands there, it would be read out again.
    if (this.#told.innerHTML !== told.outerHTML) this.#told.replaceChildren(told)
    this.#hush()
  }

  /** Take away what was told, but not from under a pointer or a focus. */
  #hush() {
    clearTimeout(this.#telling)
    this.#telling = setTimeout(() => {
      if (this.#told.matches(":hover, :focus-within")) this.#hush()
      else this.#told.replaceChildren()
    }, TOLD_MS)
  }

  /** @param {string} title */
  entitle(title) {
    document.title = `${title} – Milepost`
  }

  /**
   * @param {Route} route
   * @param {boolean} [first]
   */
  #show(route, first = false) {
    if (this.#access) return
    const name = route.view === "jobs" && route.id ? `job ${route.id}` : this.#allowed(route.view)
    if (name !== this.#shown) this.#replace(name, route, first)
    for (const link of document.querySelectorAll("nav.views a")) {
      if (link.getAttribute("href") === href(route.view)) link.setAttribute("aria-current", "page")
      else link.removeAttribute("aria-current")
    }
    this.#view?.show(route)
  }

  /**
   * @param {string} name
   * @param {Route} route
   * @param {boolean} first  when the page comes, the focus stays where the browser puts it
   */
  #replace(name, route, first) {
    this.#view?.close()
    this.#shown = name
    const Kind = name.startsWith("job ") ? JobView : VIEWS[name]
    this.#view = new Kind(this, route)
    this.#main.replaceChildren(this.#view.element)
    this.entitle(this.#view.title)
    if (first) return
    scrollTo(0, 0)
    this.#heading()?.focus({ preventScroll: true })
  }

  /** @param {string} view */
  #allowed(view) {
    const known = Object.hasOwn(VIEWS, view) ? view : "jobs"
    return this.session.readOnly && !READABLE.has(known) ? "jobs" : known
  }

  #heading() {
    return /** @type {HTMLElement | null} */ (this.#main.querySelector("h1"))
  }

  #newClient() {
    const { credential, readOnly } = this.session
    const given = credential ? (readOnly ? { token: credential } : { apiKey: credential }) : {}
    return new Milepost({ baseUrl: new URL(".", document.baseURI).href, ...given })
  }

  async #follow() {
    try {
      await this.live.follow(this.client, this.session.selection)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      this.failed(error)
    }
  }

  #pulse() {
    const place = get("#connection")
    const words = { live: "Live", polling: "Live", connecting: "Connecting", reconnecting: "Reconnecting", ended: "All ended" }
    const { connection, problem } = this.live
    place.textContent = /** @type {Record<string, string>} */ (words)[connection] ?? "Not live"
    place.dataset.connection = connection
    place.title = problem ?? ""
    this.#alarm.draw()
  }

  /** What cannot be pressed by who only reads is not there. */
  #dress() {
    document.documentElement.dataset.readOnly = String(this.session.readOnly)
    for (const link of document.querySelectorAll("[data-needs-key]")) link.toggleAttribute("hidden", this.session.readOnly)
  }

  /** @param {string} why */
  #ask(why) {
    if (!this.#access) {
      this.#view?.close()
      this.#view = null
      this.#shown = ""
      this.#access = new Access((credential) => {
        this.session.credential = credential
        location.reload() // streams, clients and views of the one before are gone with it
      })
      this.#main.replaceChildren(this.#access.element)
      this.entitle("Key wanted")
      this.session.credential = ""
      this.#access.focus()
    }
    if (why) this.#access.refuse(why)
  }
}
