/** A list as long as it likes of which only what is on the screen is in the page. It scrolls with the page. */

/**
 * @template Item
 * @typedef {{element: HTMLElement, show: (item: Item) => void}} Row
 */

/** Rows drawn above and below the screen: who scrolls by keys always finds the next one there. */
const BEYOND = 6

/** @template {{id: string}} Item */
export class Windowed {
  /** @type {Item[]} */
  #items = []
  /** @type {Map<string, Row<Item>>} by id: those in the page */
  #rows = new Map()
  #frame = 0
  #look = () => this.#soon()

  /**
   * @param {HTMLElement} list
   * @param {() => Row<Item>} makeRow
   * @param {{nearEnd?: () => void, newest?: (item: Item) => Item}} [tell]  `nearEnd`: what follows could be fetched;
   *   `newest`: how an item stands by now
   */
  constructor(list, makeRow, { nearEnd = () => {}, newest = (item) => item } = {}) {
    this.list = list
    this.makeRow = makeRow
    this.nearEnd = nearEnd
    this.newest = newest
    addEventListener("scroll", this.#look, { passive: true })
    addEventListener("resize", this.#look)
  }

  close() {
    removeEventListener("scroll", this.#look)
    removeEventListener("resize", this.#look)
    cancelAnimationFrame(this.#frame)
  }

  /**
   * Show these. What comes above the first row on the screen does not move it.
   * @param {Item[]} items
   */
  set(items) {
    const height = this.#height
    const { first } = this.#seen(height)
    const kept = first > 0 ? this.#items[first]?.id : undefined
    this.#items = items
    this.list.style.blockSize = `${items.length * height}px`
    const place = kept === undefined ? -1 : items.findIndex(({ id }) => id === kept)
    if (place >= 0 && place !== first) scrollBy({ top: (place - first) * height, behavior: "instant" })
    this.draw()
  }

  /** Draw what is on the screen, as it is now. */
  draw() {
    const height = this.#height
    const { first, last } = this.#seen(height)
    const from = Math.max(0, first - BEYOND)
    const shown = this.#items.slice(from, last + BEYOND)
    const wanted = new Set(shown.map(({ id }) => id))
    for (const id of this.#rows.keys()) if (!wanted.has(id) && !this.#isHeld(id, height)) this.#remove(id)
    shown.forEach((item, index) => this.#place(item, from + index, height))
    if (last + BEYOND >= this.#items.length) this.nearEnd()
  }

  /**
   * Whether a row off the screen stays, in its place: taken away, it would take the focus with it.
   * @param {string} id
   * @param {number} height
   */
  #isHeld(id, height) {
    const element = this.#rows.get(id)?.element
    if (!element?.contains(document.activeElement)) return false
    const index = this.#items.findIndex((item) => item.id === id)
    element.style.transform = `translateY(${index * height}px)`
    return index >= 0
  }

  /**
   * @param {Item} item
   * @param {number} index
   * @param {number} height
   */
  #place(item, index, height) {
    const row = this.#rows.get(item.id) ?? this.#add(item.id)
    row.show(this.newest(item))
    row.element.style.transform = `translateY(${index * height}px)`
    row.element.setAttribute("aria-posinset", String(index + 1))
    row.element.setAttribute("aria-setsize", String(this.#items.length))
    // In the order of the eye, which is that of the tab key and of who hears the page.
    const before = index > 0 ? this.#rows.get(this.#items[index - 1].id)?.element : undefined
    if (before ? before.nextElementSibling !== row.element : this.list.firstElementChild !== row.element) {
      if (!row.element.contains(document.activeElement)) before ? before.after(row.element) : this.list.prepend(row.element)
    }
  }

  /** @param {string} id */
  #add(id) {
    const row = this.makeRow()
    this.#rows.set(id, row)
    this.list.append(row.element)
    return row
  }

  /** @param {string} id */
  #remove(id) {
    this.#rows.get(id)?.element.remove()
    this.#rows.delete(id)
  }

  /** @param {number} height */
  #seen(height) {
    const above = -this.list.getBoundingClientRect().top
    const first = Math.max(0, Math.floor(above / height))
    return { first, last: Math.max(first, Math.ceil((above + innerHeight) / height)) }
  }

  get #height() {
    return Number.parseFloat(getComputedStyle(this.list).getPropertyValue("--row")) || 48
  }

  #soon() {
    cancelAnimationFrame(this.#frame)
    this.#frame = requestAnimationFrame(() => this.draw())
  }
}
