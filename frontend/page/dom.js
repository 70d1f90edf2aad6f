/** Making and finding elements. */

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
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]  false, null and undefined: without it
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : String(value))
  }
  element.append(...children)
  return element
}

/**
 * Text in which `words` in backticks are code, as docstrings have it.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function prose(text) {
  return text.split(/`+([^`]+)`+/).map((part, index) => (index % 2 ? make("code", {}, part) : part))
}
