/** Making and finding elements. */

/** @typedef {Node | string | null | false | undefined} Child  what is no node or text is left out */
/** @typedef {Record<string, string | number | boolean | null | undefined>} Attributes  false, null and undefined: without it */

const SVG = "http://www.w3.org/2000/svg"

/**
 * Find what the page's HTML promises.
 * @template {HTMLElement} T
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {T}
 */
export function get(selector, root = document) {
  const found = root.querySelector(selector)
  if (!found) throw new Error(`index.html has no ${selector}.`)
  return /** @type {T} */ (found)
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children)
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function draw(tag, attributes = {}, ...children) {
  return filled(/** @type {SVGElementTagNameMap[K]} */ (document.createElementNS(SVG, tag)), attributes, children)
}

/**
 * @param {string} label
 * @param {(event: MouseEvent) => unknown} pressed
 * @param {Attributes} [attributes]
 */
export function button(label, pressed, attributes = {}) {
  const made = make("button", { type: "button", class: "quiet", ...attributes }, label)
  made.addEventListener("click", pressed)
  return made
}

/**
 * Text in which words in backticks are code, as docstrings have it.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function prose(text) {
  return text.split(/`+([^`]+)`+/).map((part, index) => (index % 2 ? make("code", {}, part) : part))
}

/**
 * Write a text only where it differs: written anew it would be laid out again, and read out again.
 * @param {Element} element
 * @param {string} text
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/**
 * Take an element away or bring it back. What is taken away with the focus in it hands that on: who uses a keyboard
 * would start from the top again.
 * @param {HTMLElement} element
 * @param {boolean} hidden
 * @param {HTMLElement} next  where to go on
 */
export function hide(element, hidden, next) {
  const held = hidden && !element.hidden && element.contains(document.activeElement)
  element.hidden = hidden
  if (held) next.focus({ preventScroll: true })
}

/**
 * @template {Element} T
 * @param {T} element
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : String(value))
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false))
  return element
}
