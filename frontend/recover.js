/**
 * Before all else: loads the page again when a part of it was not there. While a new version is put in place, one server
 * may answer with the page and another one, which is older or newer, be asked for its files.
 *
 * A script of the old kind at an address that all versions share: what helps must not be missing itself.
 */

{
  const KEY = "milepost.loads", TRIES = 8
  const loads = recall()
  let whole = true

  addEventListener("error", ({ target }) => {
    // Also what is hinted at: a module that comes late must not be asked of a version that is gone, again and again.
    const linked = target instanceof HTMLLinkElement && /^(stylesheet|modulepreload)$/.test(target.rel)
    const wanted = linked || target instanceof HTMLScriptElement
    if (!wanted || !whole) return
    whole = false
    if (loads >= TRIES) return tell()
    remember(loads + 1)
    // Half a second, one, two, ... half a minute, and never all tabs at once.
    setTimeout(() => location.reload(), Math.min(30_000, 500 * 2 ** loads) * (0.75 + Math.random() / 2))
  }, true) // such errors do not bubble

  addEventListener("load", () => {
    if (whole) remember(0)
    else if (loads >= TRIES) tell()
  })

  function tell() {
    const notice = document.querySelector("#notice")
    if (!(notice instanceof HTMLElement)) return // not yet: "load" comes back to it
    notice.textContent = "A part of this page could not be loaded. Reload it in a moment."
    notice.hidden = false
    remember(0)
  }

  /** How often in a row the page has loaded itself again. Who may keep nothing cannot count, and so does not begin. */
  function recall() {
    try {
      return Number(sessionStorage.getItem(KEY) ?? 0)
    } catch {
      return TRIES
    }
  }

  /** @param {number} count */
  function remember(count) {
    try {
      if (count) sessionStorage.setItem(KEY, String(count))
      else sessionStorage.removeItem(KEY)
    } catch {
      // A browser that keeps nothing for this site: see `recall`.
    }
  }
}
