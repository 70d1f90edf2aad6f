/**
 * Requests and answers: who asks is said in a header, a refusal is told as a sentence (RFC 9457).
 * @module
 */

/**
 * One thing that is wrong with a request: `path` is its place in the body (`$.params.steps`), `detail` the sentence.
 * @typedef {{in: string, path: string, detail: string}} ProblemItem
 */

/** @typedef {(url: URL, init?: RequestInit) => Promise<Response>} Send */
/** @typedef {Send & {forget: () => void}} Sender  `forget`: the token is known to be over */

/** The server said no, or nothing at all (`status` 0). The message is a sentence for people. */
export class Problem extends Error {
  name = "Problem"
  status = 0
  type = ""
  /** @type {ProblemItem[]} */
  items = []
  /** Seconds that the server asked to wait. @type {number | null} */
  retryAfter = null

  /**
   * @param {string} message
   * @param {{status?: number, type?: string, items?: ProblemItem[], retryAfter?: number | null, cause?: unknown}} [about]
   */
  constructor(message, about) {
    super(message)
    Object.assign(this, about)
  }

  /** Whether the same request may well succeed later: the server is away, busy or restarting. */
  get temporary() {
    return /^(0|408|425|429|5..)$/.test(`${this.status}`)
  }
}

export const ANSWER_MS = 20_000

/**
 * Return a `fetch` that says who asks. What `getToken` gives is kept until the server answers 401; then it is asked
 * once more, and the request is sent once more.
 * @param {string | undefined} secret  a stream token or an API key
 * @param {(() => string | Promise<string>) | undefined} getToken
 * @returns {Sender}
 */
export function sender(secret, getToken) {
  /** @type {Promise<string | undefined> | undefined} */
  let token
  const ask = async () => {
    const patience = AbortSignal.timeout(ANSWER_MS / 2)
    try {
      return await Promise.race([getToken ? getToken() : secret, new Promise((_, no) => (patience.onabort = no))])
    } catch (cause) {
      throw cause instanceof Problem ? cause : new Problem(`No token: ${patience.reason ?? cause}`, { cause })
    }
  }
  const forget = () => (token = undefined)
  /** @param {URL} url @param {RequestInit} [init] */
  const send = async (url, init = {}) => {
    for (let first = true; ; first = false) {
      const mine = (token ??= ask())
      mine.catch(forget)
      const bearer = await mine
      const headers = new Headers(init.headers)
      if (bearer) headers.set("Authorization", `Bearer ${bearer}`)
      const response = await fetch(url, { ...init, headers }).catch((cause) => {
        throw init.signal?.aborted ? cause : new Problem(`The server at ${url.host} cannot be reached.`, { cause })
      })
      if (response.status !== 401 || !getToken || !first) return response
      if (token === mine) forget()
    }
  }
  return Object.assign(send, { forget })
}

/**
 * Send a request and return the JSON of its answer; null where there is none to give (204).
 * @param {Send} send
 * @param {URL} url
 * @param {{method?: string, body?: object, headers?: Record<string, string>, signal?: AbortSignal | null, ms?: number}} [options]
 *   `ms`: how long the answer may take
 * @returns {Promise<any>}
 * @throws {Problem}
 */
export async function request(send, url, { method, body, headers, signal, ms = ANSWER_MS } = {}) {
  const patience = AbortSignal.timeout(ms)
  const response = await send(url, {
    method,
    headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }), ...headers },
    body: body && JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, patience]) : patience,
  }).catch((cause) => {
    throw patience.aborted ? new Problem(`The server at ${url.host} cannot be reached.`, { cause }) : cause
  })
  if (!response.ok) throw await problemOf(response)
  if (response.status === 204) return null
  try {
    return await response.json()
  } catch (cause) {
    if (signal?.aborted) throw cause
    // Cut in the middle, or something on the way answered in the server's place.
    throw new Problem(`The answer of ${url.pathname} is not JSON.`, { cause })
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
export async function problemOf(response) {
  const { status, headers } = response
  // A proxy's HTML page, say: then the status is all there is to go by.
  const answer = await response.json().catch(() => null)
  const seconds = Number(headers.get("Retry-After") ?? NaN) // a date is of the server's clock, which is not ours
  return new Problem(String(answer?.detail ?? answer?.title ?? `The server answered ${status}.`), {
    status,
    type: String(answer?.type ?? ""),
    items: [answer?.errors ?? []].flat(),
    retryAfter: seconds >= 0 ? seconds : null,
  })
}
