/**
 * Tabs that share a connection: the one that holds a lock has it, a channel carries what is said. The browser gives the
 * lock on when a tab goes away, however it goes.
 * @module
 */

/**
 * @typedef {object} Ears
 * @property {(data: any) => void} hear  something was said in another tab
 * @property {() => void} lead  the connection is this tab's, from now on
 * @property {() => void} lost  it was taken away, since this tab was silent for too long: nothing follows but `leave`
 * @property {(tab: string) => void} gone  a tab is no more
 */

/** @typedef {ReturnType<typeof join>} Link */

/**
 * Whether tabs can share at all: not on plain HTTP, nor in old browsers, nor where cookies are blocked, nor in a frame
 * with a sandbox (both refuse with a SecurityError, and would for ever).
 */
export async function canShare() {
  try {
    await navigator.locks.query()
    new BroadcastChannel("").close()
    return true
  } catch {
    return false
  }
}

/**
 * What is shared, without the secrets in it: every script of the origin can read the names of locks.
 * @param {string} what
 * @returns {Promise<string>}
 */
export async function nameOf(what) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(what))
  return `milepost ${new Uint8Array(digest)}`
}

/**
 * @param {string} name  of what is shared
 * @param {string} tab  of this one, unlike all others
 * @param {Ears} ears
 */
export function join(name, tab, { hear, lead, lost, gone }) {
  const { locks } = navigator
  const over = new AbortController()
  const { signal } = over
  const left = new Promise((resolve) => signal.addEventListener("abort", resolve))
  const channel = new BroadcastChannel(name)
  channel.onmessage = ({ data }) => hear(data)

  /** @param {LockOptions} options */
  const take = (options) => locks.request(name, options, () => (lead(), left)).catch(() => signal.aborted || lost())
  take({ signal })
  const here = new Promise((resolve) => {
    locks.request(`${name} ${tab}`, { signal }, () => (resolve(undefined), left)).catch(resolve)
  })
  return {
    /** @param {object} data  said to the other tabs; they can rely on hearing of the end of this one, which is `from` */
    post: (data) => here.then(() => signal.aborted || channel.postMessage({ ...data, from: tab })),
    /** @param {string} other  a tab of which is to be known when it goes away */
    until: (other) => locks.request(`${name} ${other}`, { signal }, () => gone(other)).catch(() => {}),
    /** Take the connection from a tab that does not give it up and says nothing. */
    steal: () => take({ steal: true }),
    leave() {
      over.abort()
      channel.close()
    },
  }
}
