// Draws the Kaplan-Meier curve of the time with normal CK as SVG: steps from day 0, the band of confidence, censor ticks.
// index.html?service=http://127.0.0.1:8000&study=demo
import type { components } from "./api.js"

type Answer = components["schemas"]["CkNormalTimesAnswer"]
type Point = components["schemas"]["CurvePoint"]
type Step = { from: number; to: number; point: Point }

const asked = new URLSearchParams(location.search)
const service = asked.get("service") ?? "http://127.0.0.1:8000"
const study = encodeURIComponent(asked.get("study") ?? "demo")
const svg = document.querySelector("#curve") as SVGSVGElement
const said = document.querySelector("#said") as HTMLElement
const left = 64, right = 620, top = 16, bottom = 310

function add(name: string, attributes: Record<string, string | number>, text = ""): void {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  element.textContent = text
  svg.append(element)
}

/** A row of the curve holds until the next one, the last row until its last censoring. */
function stepsOf(curve: Point[]): Step[] {
  return curve.map((point, place) => {
    const ends = [point.time, ...(point.censorings ?? []).map((each) => each.time)]
    return { from: point.time, to: curve[place + 1]?.time ?? Math.max(...ends), point }
  })
}

function draw(curve: Point[]): void {
  const steps = stepsOf(curve)
  const end = Math.max(1, ...steps.map((each) => each.to))
  const x = (day: number) => left + (day / end) * (right - left)
  const y = (share: number) => bottom - share * (bottom - top)
  for (const { from, to, point } of steps) {
    if (point.low === null || point.high === null) continue
    const size = { width: x(to) - x(from), height: y(point.low) - y(point.high) }
    add("rect", { class: "band", x: x(from), y: y(point.high), ...size, fill: "#56b4e9", opacity: 0.3 })
  }
  const path = steps.map(({ from, to, point }) => `${x(from)},${y(point.survival)} ${x(to)},${y(point.survival)}`)
  add("polyline", { class: "steps", points: path.join(" "), fill: "none", stroke: "#0072b2", "stroke-width": 2 })
  for (const { point } of steps)
    for (const { time } of point.censorings ?? [])
      add("path", { class: "censored", d: `M${x(time)},${y(point.survival) - 5}v10`, stroke: "#0072b2" })
  add("path", { d: `M${left},${top}V${bottom}H${right}`, fill: "none", stroke: "currentColor" })
  for (const share of [0, 0.5, 1]) add("text", { x: left - 8, y: y(share) + 5, "text-anchor": "end" }, `${100 * share} %`)
  for (let day = 0; day <= end; day += end > 720 ? 360 : end > 360 ? 90 : 30)
    add("text", { x: x(day), y: bottom + 22, "text-anchor": "middle" }, String(day))
  add("text", { x: right, y: bottom + 44, "text-anchor": "end" }, "days since the first normal CK")
}

const answer = await fetch(`${service}/v1/studies/${study}/analyses/ck-normal-time`).catch(() => undefined)
const result = answer?.ok ? ((await answer.json()) as Answer).results[0] : undefined
if (!result) said.textContent = answer ? `The service answered ${answer.status}.` : "The service cannot be reached."
else if (result.n === 0) said.textContent = "No patient of this study had a normal CK yet."
else {
  const { value, reason } = result.median
  said.textContent = `${result.n} patients had a normal CK; for ${result.events} of them the time with normal CK has ended. `
  said.textContent += value === null ? `Median: not known (${reason}).` : `Median: ${value} days.`
  draw(result.curve)
}
