/** Small charts: bars that stand on each other, and lines. What they amount to is said in words above them. */

import { draw, make } from "./dom.js"

const WIDTH = 400
const HEIGHT = 150
const LEFT = 44
const BOTTOM = 18

/** @typedef {{name: string, tone: string, values: (number | null)[]}} Series */
/** @typedef {{kind: "bars" | "lines", series: Series[], times: number[], says: (value: number) => string, label: string}} Chart */

/** @param {Chart} chart */
export function chart({ kind, series, times, says, label }) {
  const sums = times.map((_, place) => series.reduce((sum, { values }) => sum + (values[place] ?? 0), 0))
  const top = niceTop(kind === "bars" ? Math.max(0, ...sums) : Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0))))
  const marks = kind === "bars" ? bars(series, times.length, top) : series.map((one) => line(one, times.length, top))
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...axis(kind, top, says, times), ...marks)
  const key = series.map(({ name, tone }) => make("li", { "data-tone": tone }, name))
  return make("div", { class: "chart" }, svg, make("ul", { class: "key" }, ...key))
}

/**
 * @param {number} value
 * @returns {number} 1, 2 or 5 times a power of ten, not below it
 */
export function niceTop(value) {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power
}

/**
 * @param {Chart["kind"]} kind  bars count, and there is no half of one
 * @param {number} top
 * @param {(value: number) => string} says
 * @param {number[]} times
 */
function axis(kind, top, says, times) {
  const lines = [0, 0.5, 1].flatMap((part) => {
    const y = yOf(part * top, top)
    return [draw("line", { x1: LEFT, x2: WIDTH, y1: y, y2: y, class: "grid" }), draw("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, kind === "bars" && !Number.isInteger(part * top) ? "" : says(part * top))]
  })
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
  const ends = [0, Math.floor((times.length - 1) / 2), times.length - 1].map((place, index) =>
    draw("text", { x: xOf(place + (index === 2 ? 1 : 0), times.length), y: HEIGHT - 3, "text-anchor": ["start", "middle", "end"][index] }, clock.format(times[place])),
  )
  return [...lines, ...ends]
}

/**
 * @param {Series[]} series
 * @param {number} count
 * @param {number} top
 */
function bars(series, count, top) {
  const width = ((WIDTH - LEFT) / count) * 0.8
  return Array.from({ length: count }, (_, place) => {
    let sum = 0
    return series.flatMap(({ values, tone, name }) => {
      const value = values[place] ?? 0
      if (value === 0) return []
      sum += value
      const y = yOf(sum, top)
      const bar = draw("rect", { x: xOf(place, count), y, width, height: Math.max(1, yOf(sum - value, top) - y), "data-tone": tone })
      bar.append(draw("title", {}, `${value} ${name}`))
      return [bar]
    })
  }).flat()
}

/**
 * @param {Series} series
 * @param {number} count
 * @param {number} top
 */
function line({ values, tone }, count, top) {
  let pen = "M"
  const path = values.map((value, place) => {
    if (value === null) {
      pen = "M"
      return ""
    }
    const point = `${pen}${xOf(place + 0.5, count).toFixed(1)} ${yOf(value, top).toFixed(1)}`
    pen = "L"
    return (values[place - 1] ?? null) === null && (values[place + 1] ?? null) === null ? `${point}h4` : point // alone, it would not be seen
  })
  return draw("path", { d: path.join("") || "M0 0", "data-tone": tone, class: "line" })
}

/**
 * @param {number} place
 * @param {number} count
 */
function xOf(place, count) {
  return LEFT + (place / count) * (WIDTH - LEFT)
}

/**
 * @param {number} value
 * @param {number} top
 */
function yOf(value, top) {
  return 8 + (1 - value / top) * (HEIGHT - BOTTOM - 12)
}
