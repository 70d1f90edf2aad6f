/** Who looks at the page: everybody, the holder of a key, or of a token that only reads. Kept as long as the tab. */

import { decoded } from "./router.js"

const KEPT = "milepost-credential"

/** Where a browser keeps nothing for this site: until the page is left. @type {Pick<Storage, "getItem" | "setItem" | "removeItem">} */
const FORGETFUL = { getItem: () => null, setItem() {}, removeItem() {} }

/** @typedef {{all?: true, tag?: string, batch?: string, ids?: string[]}} Selection  which jobs the live list shows */

export class Session {
  /** @type {string} "" for nobody in particular */
  #credential

  /**
   * A token in the address is taken from there at once: addresses are copied, kept in histories and photographed.
   * @param {Pick<Storage, "getItem" | "setItem" | "removeItem">} [storage]
   */
  constructor(storage = kept()) {
    this.storage = storage
    const { given, rest } = takeToken(location.hash)
    if (given) {
      storage.setItem(KEPT, given)
      history.replaceState(null, "", `${location.pathname}${location.search}${rest}`)
    }
    this.#credential = given || (storage.getItem(KEPT) ?? "")
  }

  /** Whether the address holds a token, as it does when a link with one is opened where the page is already. */
  get isGiven() {
    return takeToken(location.hash).given !== ""
  }

  get credential() {
    return this.#credential
  }

  set credential(text) {
    this.#credential = text
    if (text) this.storage.setItem(KEPT, text)
    else this.storage.removeItem(KEPT)
  }

  /** Whether what is held is a stream token, which opens streams and single jobs and presses no button. */
  get readOnly() {
    return claims(this.#credential) !== null
  }

  /** @returns {Selection} */
  get selection() {
    const { jobs, tag, batch } = claims(this.#credential) ?? {}
    if (Array.isArray(jobs)) return { ids: jobs.map(String) }
    if (typeof tag === "string") return { tag }
    return typeof batch === "string" ? { batch } : { all: true }
  }
}

function kept() {
  try {
    return sessionStorage
  } catch {
    return FORGETFUL
  }
}

/**
 * @param {string} hash  `#token=…`, perhaps with a route after it: `#token=…&/jobs/ID`
 * @returns {{given: string, rest: string}}
 */
function takeToken(hash) {
  const found = /^#token=([^&]+)&?(.*)$/.exec(hash)
  return found ? { given: decoded(found[1]), rest: found[2] ? `#${found[2]}` : "" } : { given: "", rest: hash }
}

/**
 * What a JSON Web Token says of itself (RFC 7519 §3); the server alone can tell whether it is right.
 * @param {string} text
 * @returns {Record<string, unknown> | null} null for what is none
 */
function claims(text) {
  const [head, body, seal] = text.split(".")
  if (!head?.startsWith("eyJ") || !body || !seal) return null
  try {
    const bytes = Uint8Array.from(atob(body.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0))
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return null // some key that happens to look like one
  }
}
