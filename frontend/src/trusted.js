/**
 * Markup of ours for `innerHTML` where a page allows no other (`require-trusted-types-for 'script'`): such a page names
 * this policy, `trusted-types milepost`. What a job says never comes here.
 * @module
 */

/** @type {any} not known to the types of the DOM yet */
const types = /** @type {any} */ (globalThis).trustedTypes
/** @type {{createHTML(html: string): string} | undefined} */
let policy

/**
 * @param {string} html  a constant of this package
 * @returns {string}
 */
export function trusted(html) {
  policy ??= types?.createPolicy("milepost", { createHTML: (/** @type {string} */ text) => text })
  return policy?.createHTML(html) ?? html
}
