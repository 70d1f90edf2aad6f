/** Where the page is: all of it stands in the address, behind the `#`, so that any file server will do. */

import { make } from "./dom.js"

/** @typedef {{view: string, id: string, query: URLSearchParams}} Route */

/**
 * @param {URL | Location} address
 * @returns {Route}
 */
export function routeOf(address) {
  const asked = new URLSearchParams(address.search).get("job")
  if (asked && !address.hash.startsWith("#/")) return { view: "jobs", id: asked, query: new URLSearchParams() }
  const [, path, query = ""] = /** @type {RegExpExecArray} */ (/^#?\/?([^?]*)\??(.*)$/s.exec(address.hash))
  const [view = "", id = ""] = path.split("/")
  return { view: view || "jobs", id: decoded(id), query: new URLSearchParams(query) }
}

/**
 * @param {string} view
 * @param {string} [id]
 * @param {URLSearchParams | Record<string, string>} [query]
 * @returns {string} for a link
 */
export function href(view, id = "", query = {}) {
  const asked = new URLSearchParams(query).toString()
  return `#/${view}${id && `/${encodeURIComponent(id)}`}${asked && `?${asked}`}`
}

/**
 * A link to a job.
 * @param {string} id
 * @param {string} [text]  the end of its id unless said otherwise
 */
export function jobLink(id, text = `…${id.slice(-8)}`) {
  return make("a", { href: href("jobs", id), title: id, class: "id" }, text)
}

/**
 * Call `changed` with each new route, and once at the beginning. Other fragments (of a skip link) are no routes.
 * @param {(route: Route, first: boolean) => void} changed
 * @returns {{go: (address: string, how?: {replace?: boolean}) => void}}
 */
export function follow(changed) {
  let known = ""
  const look = (first = false) => {
    if (known === location.href) return
    known = location.href
    changed(routeOf(location), first)
  }
  addEventListener("popstate", () => look())
  addEventListener("hashchange", () => look())
  queueMicrotask(() => look(true))
  return {
    go(address, { replace = false } = {}) {
      // What `?job=` asked for is no longer asked for once somebody has gone on.
      const place = `${location.pathname}${address}`
      if (replace) history.replaceState(null, "", place)
      else history.pushState(null, "", place)
      look()
    },
  }
}

/** @param {string} text  of an address */
export function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // typed by hand
  }
}
