/**
 * What both elements are: something on a page that watches for as long as it is there.
 * @module
 */

import { sharedClient } from "./client.js"

/** @typedef {import("./client.js").Milepost} Milepost */
/** @typedef {import("./watch.js").Watch<any>} Watch */

// In Node there is no HTMLElement: importing this file must not fail there (server-side rendering, tests).
const Base = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (class {})

/** @type {Record<string, CSSStyleSheet>} one for all elements that look alike */
const sheets = {}

/** Watches what its attributes say while it is on a page, whatever is changed or moved meanwhile. */
export class WatchingElement extends Base {
  /** @type {Milepost | null | undefined} */
  #given
  /** @type {Milepost | null | undefined} */
  #asked
  /** @type {string | null | undefined} */
  #wanted
  /** @type {Watch | null | undefined} */
  #watch
  /**
   * What is in the shadow tree, by name.
   * @type {Record<string, HTMLElement>}
   */
  parts = {}

  /**
   * @param {string} css  a constructed sheet is made of it: a strict Content-Security-Policy refuses `<style>`
   * @param {string} tree  "parent:child child ...", line by line; a child that is no span is "name=tag"
   */
  constructor(css, tree) {
    super()
    if (!sheets[css]) (sheets[css] = new CSSStyleSheet()).replaceSync(css)
    const root = this.attachShadow({ mode: "open" })
    root.adoptedStyleSheets = [sheets[css]]
    for (const line of tree.split("\n")) {
      const [parent, children] = line.split(":")
      // One by one: a page that asks for trusted types takes no HTML.
      for (const child of children.split(" ")) (this.parts[parent] ?? root).append(this.#make(child))
    }
    this.parts.said.role = "status"
    queueMicrotask(() => this.#adopt())
  }

  /** @param {string} child */
  #make(child) {
    const [name, tag = "span"] = child.split("=")
    const part = (this.parts[name] = document.createElement(tag))
    part.id = name
    part.hidden = tag === "button" // until there is something to press it for
    this.put(name, "part", name)
    return part
  }

  /** What was set before the element was defined lies on it, and hides the accessors of its class. */
  #adopt() {
    const { parts, ...own } = /** @type {Record<string, any>} */ (this)
    for (const name in own) Reflect.deleteProperty(this, name)
    Object.assign(this, own)
  }

  /**
   * The client that it asks: the one it was given, or else the page's own for its `src` and `token`.
   * @returns {Milepost}
   */
  get client() {
    return this.#given ?? sharedClient(this.getAttribute("src") ?? undefined, this.getAttribute("token") ?? undefined)
  }

  set client(client) {
    this.#given = client
    this.changed()
  }

  connectedCallback() {
    this.changed()
  }

  disconnectedCallback() {
    this.changed()
  }

  attributeChangedCallback() {
    this.changed()
  }

  /** @protected */
  changed() {
    // Later, once for all: frameworks set one attribute after the other, and who moves an element takes it out first.
    queueMicrotask(() => this.#settle())
  }

  #settle() {
    const self = /** @type {Watching} */ (/** @type {unknown} */ (this))
    const wanted = this.isConnected ? self.wanted : null
    const asked = wanted ? this.client : null
    if (wanted !== this.#wanted || asked !== this.#asked) {
      this.#watch?.close()
      this.#wanted = wanted
      this.#asked = asked
      const watch = (this.#watch = asked && self.open(asked))
      watch?.addEventListener("update", (event) => {
        if (watch === this.#watch) self.show(/** @type {CustomEvent} */ (event).detail)
      })
    }
    self.draw()
  }

  /**
   * @param {string} type
   * @param {unknown} detail
   * @param {boolean} [composed]  also out of the list that the element is in
   * @returns {boolean} whether the page lets what it is about take its course
   */
  tell(type, detail, composed = false) {
    return this.dispatchEvent(new CustomEvent(`milepost-${type}`, { detail, composed, bubbles: true, cancelable: true }))
  }

  /**
   * @param {string} name  nothing happens where there is no such part
   * @param {string} text
   */
  write(name, text) {
    const part = this.parts[name]
    // Only what differs: writing the same text anew would be announced again, and drawn again.
    if (part && part.textContent !== text) part.textContent = text
  }

  /**
   * Set an attribute, or take it away; nothing happens when it is so already.
   * @param {string} name  of a part; "" for the element itself
   * @param {string} attribute
   * @param {string | number | null} value
   */
  put(name, attribute, value) {
    put(name ? this.parts[name] : this, attribute, value)
  }
}

/**
 * What each of them does in its own way: `wanted` says what it watches, "" for nothing.
 * @typedef {{wanted: string, open: (client: Milepost) => Watch | null, show: (update: any) => void, draw: () => void}} Watching
 */

/**
 * Set an attribute, or take it away; nothing happens when it is so already.
 * @param {HTMLElement} element
 * @param {string} name
 * @param {string | number | null} value
 */
export function put(element, name, value) {
  if (value === null) element.removeAttribute(name)
  else if (element.getAttribute(name) !== `${value}`) element.setAttribute(name, `${value}`)
}

/**
 * Nothing happens where there is no page, or where it is defined already.
 * @param {string} name
 * @param {CustomElementConstructor} element
 */
export function define(name, element) {
  const registry = globalThis.customElements
  if (!registry?.get(name)) registry?.define(name, element)
}
