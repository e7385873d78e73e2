// Results as charts: Fettle over each peer, median with the range of the rounds. A page that Plotly draws from the checkout's own
// copy (no server, nothing fetched), with the same picture as SVG where there is none.
import { createRequire } from 'node:module'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nameOf, titleOf } from './cases.mjs'
import { aboutLine, range } from './table.mjs'

const require = createRequire(import.meta.url)
const { colours } = require('fettle/dist/views/colours'), { escapeHtml, html, Html, scriptJson } = require('fettle/dist/views/html'), { roundTicks } = require('fettle/dist/views/picture')

/** What is compared; above 1 Fettle is faster, or takes more. */
export const figuresOf = { tokensPerSecond: 'Tokens/s, Fettle over peer (more is better)', peakMiB: 'Peak memory, Fettle over peer (less is better)', firstStep: 'Time to the first step, Fettle over peer (less is better)' }
const peerColours = { peft: colours.main, trl: colours.second, torchtune: colours.third }, symbols = { default: 'circle-open', best: 'circle', compile: 'diamond' }

/** Series of a chart, one a peer and form: `{ name, peer, form, points: [{ title, min, median, max }] }`. */
export function seriesOf({ cases }, figure) {
  const found = new Map()
  for (const c of Object.values(cases)) for (const [side, ratios] of Object.entries(c.ratios)) {
    if (!side.includes(':') || !ratios[figure]) continue
    const [peer, form] = side.split(':'), series = found.get(side) ?? { name: nameOf(side), peer, form, points: [] }
    series.points.push({ title: titleOf(c), ...ratios[figure] })
    found.set(side, series)
  }
  return [...found.values()]
}

/** Titles of cases in lines that fit beside a chart. */
const wrapped = (title) => title.split(', ').reduce((lines, part) => ((lines.at(-1) ?? '').length + part.length > 40 || lines.length === 0 ? [...lines, part] : [...lines.slice(0, -1), `${lines.at(-1)}, ${part}`]), [])

/** Traces and layout for Plotly. */
export function plotlyFigure(result, figure) {
  const series = seriesOf(result, figure), titles = Object.values(result.cases).map(titleOf), height = 210 + 64 * titles.length
  const traces = series.map(({ name, peer, form, points }, k) => ({
    // Sides of a case stand one below the other.
    type: 'scatter', mode: 'markers', name, x: points.map((p) => p.median), y: points.map((p) => titles.indexOf(p.title) + 0.8 * ((k + 1) / (series.length + 1) - 0.5)),
    error_x: { type: 'data', symmetric: false, array: points.map((p) => p.max - p.median), arrayminus: points.map((p) => p.median - p.min), thickness: 1.5, width: 4 },
    marker: { color: peerColours[peer], symbol: symbols[form], size: 10 }, hovertemplate: '%{x:.2f}×<extra>%{fullData.name}</extra>',
  }))
  return {
    traces,
    layout: {
      title: { text: figuresOf[figure], font: { size: 15 } }, height, margin: { l: 290, r: 20, t: 50, b: 90 }, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { color: colours.text },
      xaxis: { rangemode: 'tozero', gridcolor: colours.grid, ticksuffix: '×', zeroline: false }, yaxis: { range: [titles.length - 0.5, -0.5], tickvals: titles.map((_, i) => i), ticktext: titles.map((title) => wrapped(title).join('<br>')), showgrid: false, zeroline: false },
      legend: { orientation: 'h', yanchor: 'top', yref: 'container', y: 56 / height },
      shapes: [{ type: 'line', x0: 1, x1: 1, yref: 'paper', y0: 0, y1: 1, line: { color: colours.text, dash: 'dot', width: 1 } }],
    },
  }
}

const width = 960, left = 290, right = 24, line = 46

function mark({ form, peer }, x, y) {
  const colour = peerColours[peer]
  if (form === 'compile') return `<path d="M${x - 5} ${y}L${x} ${y - 5}L${x + 5} ${y}L${x} ${y + 5}Z" fill="${colour}"/>`
  return `<circle cx="${x}" cy="${y}" r="4" fill="${form === 'best' ? colour : 'none'}" stroke="${colour}" stroke-width="1.6"/>`
}

/** The same chart as SVG. */
export function picture(result, figure) {
  const series = seriesOf(result, figure), titles = Object.values(result.cases).map(titleOf), high = Math.max(1.2, ...series.flatMap(({ points }) => points.map((p) => p.max))) * 1.05
  const top = 34, bottom = top + line * titles.length, columns = 3, height = bottom + 34 + 16 * Math.ceil(series.length / columns), x = (value) => Number((left + (value / high) * (width - left - right)).toFixed(1))
  const text = (at, y, words, anchor = 'start') => `<text x="${at}" y="${y}" text-anchor="${anchor}">${escapeHtml(words)}</text>`
  const grid = roundTicks(0, high, 6).map((tick) => `<line x1="${x(tick)}" x2="${x(tick)}" y1="${top}" y2="${bottom}" stroke="${colours.grid}"/>${text(x(tick), bottom + 14, `${tick}×`, 'middle')}`)
  const labels = titles.flatMap((title, i) => wrapped(title).map((part, k, all) => text(left - 10, top + line * (i + 0.5) + 4 + 13 * (k - (all.length - 1) / 2), part, 'end')))
  const marks = series.flatMap((one, k) => one.points.map((point) => {
    const y = Number((top + line * (titles.indexOf(point.title) + (k + 1) / (series.length + 1))).toFixed(1))
    return `<line x1="${x(point.min)}" x2="${x(point.max)}" y1="${y}" y2="${y}" stroke="${peerColours[one.peer]}" stroke-width="1.6"/>${mark(one, x(point.median), y)}`
  }))
  const legend = series.map((one, k) => {
    const at = 20 + (k % columns) * 300, y = bottom + 36 + 16 * Math.floor(k / columns)
    return `${mark(one, at, y - 4)}${text(at + 10, y, one.name)}`
  })
  const one = `<line x1="${x(1)}" x2="${x(1)}" y1="${top}" y2="${bottom}" stroke="${colours.text}" stroke-dasharray="2 3"/>`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui,sans-serif" font-size="11" fill="${colours.text}">${text(8, 18, figuresOf[figure])}${grid.join('')}${one}${labels.join('')}${marks.join('')}${legend.join('')}</svg>\n`
}

function section(slug, result) {
  const rows = Object.values(result.cases).flatMap((c) => Object.entries(c.ratios).map(([side, r]) => html`<tr><td>${titleOf(c)}</td><td>${nameOf(side)}</td>${Object.keys(figuresOf).map((figure) => html`<td>${range(r[figure], 2)}</td>`)}</tr>`))
  return html`<section><h2>${result.machine.cpu}, ${result.machine.cores} cores</h2><p>${aboutLine(result)}</p>${Object.keys(figuresOf).map((figure) => html`<div class="chart" data-machine="${slug}" data-figure="${figure}"><img alt="${figuresOf[figure]}" src="${slug}-${figure}.svg"></div>`)}
<table><thead><tr><th>case</th><th>peer</th>${Object.values(figuresOf).map((title) => html`<th>${title}</th>`)}</tr></thead><tbody>${rows}</tbody></table></section>`
}

const style = 'body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color-scheme:light dark;background:Canvas;color:CanvasText}table{border-collapse:collapse;font-size:13px}th,td{text-align:left;padding:.25em .7em;border-bottom:1px solid #8884}img{max-width:100%}'

/** The page of all machines. */
export function page(results) {
  const figures = Object.fromEntries([...results].map(([slug, result]) => [slug, Object.fromEntries(Object.keys(figuresOf).map((figure) => [figure, plotlyFigure(result, figure)]))]))
  const draw = new Html(`for (const div of window.Plotly ? document.querySelectorAll('.chart') : []) {
  const { traces, layout } = figures[div.dataset.machine][div.dataset.figure]
  div.replaceChildren()
  Plotly.newPlot(div, traces, layout, { responsive: true, displayModeBar: false })
}`)
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Fettle beside its peers</title><style>${new Html(style)}</style></head><body>
<h1>Fettle beside its peers</h1><p>Medians of the rounds, with their range. Made by <code>npm run bench -- --page</code> from the JSON files beside this page; <a href="../performance.md">how it was measured</a>.</p>
${[...results].map(([slug, result]) => section(slug, result))}
<script src="../../node_modules/plotly.js-basic-dist-min/plotly-basic.min.js"></script>
<script>const figures = ${scriptJson(figures)}
${draw}</script></body></html>
`.toString()
}

/** Writes the page and its pictures into the folder of the results. */
export function writePage(folder, results) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'index.html'), page(results))
  for (const [slug, result] of results) for (const figure of Object.keys(figuresOf)) writeFileSync(join(folder, `${slug}-${figure}.svg`), picture(result, figure))
}
