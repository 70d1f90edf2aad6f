/**
 * Numbers as people read them. Pure: the words are English, the digits grouped as in English.
 * Digits never jump about: a value keeps its number of decimals while its size stays the same.
 * @module
 */

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"]

/**
 * @param {number} value
 * @returns {string} `1,234`, `12.3`, `0.042`: three figures, more only for whole numbers
 */
export function number(value) {
  if (!Number.isFinite(value)) return "–"
  if (Number.isInteger(value) || Math.abs(value) >= 100) return GROUPED.format(value)
  return String(Number(value.toPrecision(3)))
}

/**
 * @param {number} value
 * @returns {string} `512 B`, `1.5 kB`, `34.0 MB`: powers of 1000
 */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–"
  let step = 0
  while (Math.abs(value) >= 999.95 && step < BYTE_UNITS.length - 1) {
    value /= 1000
    step += 1
  }
  return `${step ? value.toFixed(1) : Math.round(value)} ${BYTE_UNITS[step]}`
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
  return unit ? `${number(value)} ${unit}` : number(value)
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
  if (isBytes(unit)) return `${bytes(current)} of ${bytes(total)}`
  return `${number(current)} of ${amount(total, unit)}`
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
  if (perSecond === null || !Number.isFinite(perSecond) || perSecond <= 0) return ""
  if (isBytes(unit)) return `${bytes(perSecond)}/s`
  const [times, per] = perSecond >= 1 ? [1, "s"] : perSecond * MINUTE >= 1 ? [MINUTE, "min"] : [HOUR, "h"]
  const shown = Number((perSecond * times).toPrecision(2))
  const digits = shown < 10 ? shown.toFixed(1) : number(shown)
  return unit ? `${digits} ${unit}/${per}` : `${digits}/${per}`
}

/**
 * @param {number} place  from 1
 * @returns {string} `1st`, `2nd`, `11th`, `1,003rd`
 */
export function ordinal(place) {
  const teens = [11, 12, 13].includes(place % 100)
  return `${GROUPED.format(place)}${teens ? "th" : (["th", "st", "nd", "rd"][place % 10] ?? "th")}`
}

/**
 * @param {number} seconds
 * @returns {string} `0.4 s`, `42 s`, `3 min 05 s`, `1 h 20 min`, `2 d 4 h`
 */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–"
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < MINUTE) return `${whole} s`
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min ${String(whole % MINUTE).padStart(2, "0")} s`
  return coarse(whole)
}

/**
 * Time that is left, said no more precisely than anybody can know it.
 * @param {number | null} seconds
 * @returns {string} `8 s left`, `2 min left`, `1 h 20 min left`
 */
export function timeLeft(seconds) {
  if (seconds === null || !Number.isFinite(seconds) || seconds < 0) return ""
  if (seconds < 55) return `${Math.max(1, Math.ceil(seconds))} s left`
  if (seconds < HOUR - MINUTE / 2) return `${Math.max(1, Math.round(seconds / MINUTE))} min left`
  return `${coarse(Math.round(seconds / MINUTE) * MINUTE)} left`
}

/**
 * @param {number} seconds  an hour or more
 * @returns {string}
 */
function coarse(seconds) {
  if (seconds < DAY) {
    const minutes = Math.floor((seconds % HOUR) / MINUTE)
    return `${Math.floor(seconds / HOUR)} h${minutes ? ` ${minutes} min` : ""}`
  }
  const hours = Math.floor((seconds % DAY) / HOUR)
  return `${Math.floor(seconds / DAY)} d${hours ? ` ${hours} h` : ""}`
}

/**
 * @param {string | null} from  RFC 3339
 * @param {string | number | null} to  RFC 3339, or milliseconds since 1970
 * @returns {number | null} seconds between the two
 */
export function secondsBetween(from, to) {
  if (from === null || to === null) return null
  const end = typeof to === "number" ? to : Date.parse(to)
  const seconds = (end - Date.parse(from)) / 1000
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null
}
