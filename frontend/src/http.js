/**
 * One request and its answer: JSON, or a problem told as a sentence (RFC 9457).
 * @module
 */

/**
 * One thing that is wrong with a request: `path` is its place in the body (`$.params.steps`), `detail` the sentence.
 * @typedef {{in: string, path: string, detail: string}} ProblemItem
 */

/** The server said no, or nothing at all (`status` 0). The message is a sentence for people. */
export class Problem extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, type?: string, items?: ProblemItem[], retryAfter?: number | null, cause?: unknown}} [about]
   */
  constructor(message, { status = 0, type = "", items = [], retryAfter = null, cause } = {}) {
    super(message, { cause })
    this.name = "Problem"
    this.status = status
    this.type = type
    this.items = items
    /** Seconds that the server asked to wait. */
    this.retryAfter = retryAfter
  }

  /** Whether the same request may well succeed later: the server is away, busy or restarting. */
  get temporary() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500
  }
}

const ANSWER_MS = 20_000

/**
 * Send a request and return the JSON of its answer.
 * @param {URL | string} url
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal | null}} [options]
 * @returns {Promise<any>}
 * @throws {Problem}
 */
export async function request(url, { method = "GET", body, headers = {}, signal = null } = {}) {
  const sent = new Headers({ Accept: "application/json", ...headers })
  if (body !== undefined) sent.set("Content-Type", "application/json")
  const text = body === undefined ? undefined : JSON.stringify(body)
  const patience = AbortSignal.timeout(ANSWER_MS)
  const either = signal ? AbortSignal.any([signal, patience]) : patience
  const response = await reach(url, { method, headers: sent, body: text, signal: either }, signal)
  const answer = await read(response, signal)
  if (!response.ok) throw problemOf(response, answer)
  if (answer === undefined) throw new Problem(`The answer of ${place(url)} is not JSON.`, { status: response.status })
  return answer
}

/**
 * @param {URL | string} url
 * @param {RequestInit} init
 * @param {AbortSignal | null} signal  the caller's own
 */
async function reach(url, init, signal) {
  try {
    return await fetch(url, init)
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw unreachable(url, cause)
  }
}

/**
 * @param {Response} response
 * @param {AbortSignal | null} signal
 * @returns {Promise<any>} undefined when it is not JSON
 */
async function read(response, signal) {
  let text
  try {
    text = await response.text()
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw unreachable(response.url, cause)
  }
  try {
    return JSON.parse(text)
  } catch {
    return undefined // a proxy's HTML page, say: the status line is all there is to go by
  }
}

/**
 * @param {URL | string} url
 * @param {unknown} cause
 */
function unreachable(url, cause) {
  return new Problem(`The server at ${new URL(url).host} cannot be reached.`, { cause })
}

/**
 * @param {Response} response
 * @param {any} answer
 */
function problemOf(response, answer) {
  const message = answer?.detail ?? answer?.title ?? `The server answered ${response.status} ${response.statusText}.`
  const wait = Number(response.headers.get("Retry-After") ?? NaN)
  return new Problem(String(message), {
    status: response.status,
    type: String(answer?.type ?? ""),
    items: Array.isArray(answer?.errors) ? answer.errors : [],
    retryAfter: Number.isFinite(wait) ? wait : null,
  })
}

/** @param {URL | string} url */
function place(url) {
  return new URL(url).pathname
}
