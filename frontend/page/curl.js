/** What to type into a terminal instead. Pure. */

/**
 * @param {URL} url  where jobs are submitted
 * @param {string} task
 * @param {Record<string, unknown>} params
 * @returns {string}
 */
export function submitCommand(url, task, params) {
  const body = JSON.stringify(Object.keys(params).length ? { task, params } : { task })
  return `curl ${url} \\\n  --json ${quoted(body)}`
}

/**
 * @param {URL} url  of the stream
 * @returns {string}
 */
export function followCommand(url) {
  return `curl -N ${url}`
}

/** @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
