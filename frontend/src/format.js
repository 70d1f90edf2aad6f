/**
 * Numbers as people read them. Pure: the words are English, the digits grouped as in English.
 * Digits never jump about: a value keeps its number of decimals while its size stays the same.
 * @module
 */

const MINUTE = 60
const HOUR = 60 * MINUTE
/** @type {[number, string][]} each divides the one before */
const UNITS = [[24 * HOUR, "d"], [HOUR, "h"], [MINUTE, "min"], [1, "s"]]

/**
 * @param {number} value
 * @returns {string} `1,234`, `12.3`, `0.042`: three figures, more only for whole numbers
 */
export function number(value) {
  return `${Math.abs(value) < 100 ? Number(value.toPrecision(3)) : Math.round(value).toLocaleString("en")}`
}

/**
 * @param {number} value
 * @returns {string} `512 B`, `1.5 kB`, `34.0 MB`: powers of 1000
 */
export function bytes(value) {
  let step = 0
  for (; Math.abs(value) >= 999.95 && step < 5; step++) value /= 1000
  return `${value.toFixed(step && 1)} ${" kMGTP"[step].trim()}B`
}

/**
 * @param {string | null} unit
 * @returns {boolean} whether amounts of this unit are bytes
 */
export function isBytes(unit) {
  return unit === "B" || unit === "byte" || unit === "bytes"
}

/**
 * @param {number} value
 * @param {string | null} [unit]
 * @returns {string} `1,234 rows`, `1.5 MB`
 */
export function amount(value, unit = null) {
  if (isBytes(unit)) return bytes(value)
  return number(value) + (unit ? ` ${unit}` : "")
}

/**
 * How much of how much.
 * @param {number | null} current
 * @param {number | null} total
 * @param {string | null} unit
 * @returns {string} `340 of 1,000 rows`, `340 rows`, ``
 */
export function counted(current, total, unit) {
  if (current === null) return ""
  if (total === null) return amount(current, unit)
  return `${amount(current, isBytes(unit) ? unit : null)} of ${amount(total, unit)}`
}

/**
 * @param {number | null} percent  0–100
 * @returns {string} `34%`; never `100%` before it is 100
 */
export function percentage(percent) {
  return percent === null ? "" : `${Math.floor(percent)}%`
}

/**
 * @param {number | null} perSecond
 * @param {string | null} [unit]
 * @returns {string} `9.3 rows/s`, `1.5 MB/s`; what is slower than one a second is told per minute or hour
 */
export function rate(perSecond, unit = null) {
  if (!perSecond || perSecond < 0 || perSecond === Infinity) return ""
  const [seconds, per] = isBytes(unit) || perSecond >= 1 ? UNITS[3] : perSecond * MINUTE >= 1 ? UNITS[2] : UNITS[1]
  if (isBytes(unit)) return `${bytes(perSecond)}/s`
  const shown = Number((perSecond * seconds).toPrecision(2))
  return `${shown < 10 ? shown.toFixed(1) : number(shown)}${unit ? ` ${unit}` : ""}/${per}`
}

/**
 * @param {number} place  from 1
 * @returns {string} `1st`, `2nd`, `11th`, `1,003rd`
 */
export function ordinal(place) {
  const teens = Math.floor((place % 100) / 10) === 1
  return number(place) + ((!teens && ["", "st", "nd", "rd"][place % 10]) || "th")
}

/**
 * @param {number} seconds
 * @returns {string} `0.4 s`, `42 s`, `3 min 5 s`, `1 h 20 min`, `2 d 4 h`
 */
export function duration(seconds) {
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : coarse(Math.round(seconds))
}

/**
 * Time that is left, said no more precisely than anybody can know it.
 * @param {number | null} seconds
 * @returns {string} `8 s left`, `2 min left`, `1 h 20 min left`
 */
export function timeLeft(seconds) {
  if (!seconds || seconds < 0) return ""
  if (seconds < 55) return `${Math.ceil(seconds)} s left`
  return `${coarse(Math.round(seconds / MINUTE) * MINUTE)} left`
}

/**
 * @param {number} seconds  a whole number from 1
 * @returns {string} in its largest unit and the one below
 */
function coarse(seconds) {
  const largest = UNITS.findIndex(([size]) => seconds >= size)
  const [size, unit] = UNITS[largest]
  const [smaller, below] = UNITS[largest + 1] ?? [1]
  const rest = Math.floor((seconds % size) / smaller)
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${below}` : ""}`
}

/**
 * @param {string | null} from  RFC 3339
 * @param {string | number | null} to  RFC 3339, or milliseconds since 1970
 * @returns {number | null} seconds between the two
 */
export function secondsBetween(from, to) {
  const seconds = (Number(new Date(to ?? NaN)) - Date.parse(from ?? "")) / 1000
  return Number.isNaN(seconds) ? null : Math.max(0, seconds)
}
