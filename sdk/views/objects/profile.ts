import type { BlockRow, LayerRow, StepTotals } from '../../profile/summary'
import type { GemmLimit, MemoryPart, ProfileData, RankProfile } from '../../profile/types'
import { digits, whole } from '../format'
import { html, scriptJson, type Html } from '../html'
import { libraryScript } from '../library'
import { flameFigure, staircaseFigure } from '../profile/figures'
import { flameOf, fullName, middleLayer, msText } from '../profile/flame'
import { flamePicture, layersPicture, partsPicture, staircasePicture } from '../profile/picture'
import { staircaseOf } from '../profile/staircase'
import type { TextAndHtml } from '../tables'
import { bytesText, frame, gridHtml, gridText, heading, shareText, type Cell } from './frame'

/** What a view shows of a profile. */
export interface ProfileFacts {
  readonly data: ProfileData
  readonly files: { readonly json: string; readonly trace: string } | null
  readonly totals: StepTotals
  readonly blocks: readonly BlockRow[]
  readonly layers: readonly LayerRow[]
  readonly parts: readonly MemoryPart[]
  readonly peak: number
  readonly limit: GemmLimit
  readonly ranks: readonly RankProfile[]
}

const number = (text: string): Cell => ({ number: text })
const ms = (value: number): Cell => number(value === 0 ? '' : msText(value))
/** Below a hundredth of a percent of the limit a rate says nothing. */
const rate = (value: number): Cell => number(value === 0 ? '' : `${digits(value / 1e9, 3)}`)

const blockTitles = ['block', 'calls#', 'forward, ms#', 'backward, ms#', 'ms#', 'of the step#', 'GFLOP#', 'GFLOP/s#', 'of the limit#', 'page faults#']
function blockCells({ name, calls, forward, backward, ms: all, share, flops, rate: speed, ofLimit, faults }: BlockRow): Cell[] {
  return [fullName(name), number(calls === 0 ? '' : digits(calls, 3).replace(/\.0+$/, '')), ms(forward), ms(backward), number(msText(all)), number(shareText(Math.max(0, share))), number(flops === 0 ? '' : digits(flops / 1e9, 3)), rate(speed), number(flops === 0 ? '' : shareText(ofLimit)), number(faults < 0.5 ? '' : whole(faults))]
}

const layerTitles = ['layer', 'forward, ms#', 'backward, ms#', 'of the step#', 'GFLOP#', 'GFLOP/s#']
function layerCells({ name, forward, backward, share, flops, rate: speed }: LayerRow): Cell[] {
  return [name, ms(forward), ms(backward), number(shareText(share)), number(flops === 0 ? '' : digits(flops / 1e9, 3)), rate(speed)]
}

/** The line that says most. */
function lead({ totals: { ms: time, tokensPerSecond, rate: speed, ofLimit }, data: { ranks } }: ProfileFacts): string {
  const count = ranks[0].steps.length
  return `${msText(time)} ms a step${count === 1 ? '' : ` (mean of ${count})`} · ${whole(tokensPerSecond)} tokens/s · ${digits(speed / 1e9, 3)} GFLOP/s, ${shareText(ofLimit)} of the machine's limit`
}

function limitText({ limit, data: { dtype, threads, device } }: ProfileFacts): string {
  return `limit: ${digits(limit.best / 1e9, 4)} GFLOP/s, the best product of ${dtype} with ${device === 'cpu' ? `${threads} thread${threads === 1 ? '' : 's'}` : `the device`} (${limit.size} × ${limit.size}; our blocks ${digits(limit.blocks / 1e9, 3)}, ATen ${digits(limit.aten / 1e9, 3)})`
}

const partTitles = ['peak memory', 'size#', 'of the peak#']
function partRows({ parts, peak }: ProfileFacts): Cell[][] {
  return [...parts.map(({ name, bytes }): Cell[] => [name, number(bytesText(bytes)), number(shareText(bytes / peak))]), ['all', number(bytesText(peak)), number('100%')]]
}

function nameOf({ data: { model, ranks, blocks } }: ProfileFacts): string {
  const [first] = ranks[0].steps, last = ranks[0].steps.at(-1)!
  return `Profile of ${first === last ? `step ${whole(first.step)}` : `steps ${whole(first.step)} to ${whole(last.step)}`}: ${model}, ${blocks} blocks${ranks.length === 1 ? '' : `, rank 0 of ${ranks.length}`}`
}

/** A picture on a page that may be narrower: smaller letters would not be read. */
function scrolling(picture: Html): Html { return html`<div class="fettle-scroll" tabindex="0">${picture}</div>` }
function still(picture: Html): Html { return html`<div data-fettle-still="">${scrolling(picture)}</div>` }

/** Both charts: still pictures, which a page that runs scripts replaces by charts that one can move in. */
export function profileCharts({ ranks, limit }: Pick<ProfileFacts, 'ranks' | 'limit'>): Html {
  const flame = flameOf(ranks[0], limit), stairs = staircaseOf(ranks[0])
  const script = html`<script type="text/javascript">(() => {
  const root = document.currentScript.parentElement, charts = ${scriptJson([flameFigure(flame), staircaseFigure(stairs)])}
  if (!window.fettleLibrary) return
  window.fettleLibrary().then((plotly) => root.querySelectorAll('[data-fettle-chart]').forEach((place, i) => {
    const drawn = document.createElement('div')
    place.append(drawn)
    return plotly.newPlot(drawn, charts[i].data, charts[i].layout, { displayModeBar: false, responsive: true }).then(() => { for (const still of place.querySelectorAll('[data-fettle-still]')) still.remove() })
  }))
})()</script>`
  return html`<div class="fettle-profile" style="max-width:960px"><div class="fettle-lead">${flame.title}. Drag to enlarge, double click to see all.</div><div data-fettle-chart="flame">${still(flamePicture(flame))}</div>${scrolling(layersPicture(middleLayer(ranks[0], limit)))}<div data-fettle-chart="memory">${still(staircasePicture(stairs))}</div>${scrolling(partsPicture(ranks[0].parts))}${libraryScript()}${script}</div>`
}

/** Where time and memory of some steps went. */
export function profileView(profile: ProfileFacts): TextAndHtml {
  const { blocks, layers, files } = profile, name = nameOf(profile), blockGrid = blocks.map(blockCells), layerGrid = layers.map(layerCells)
  const where = files === null ? null : `${files.json}\n${files.trace} (load it in Perfetto or chrome://tracing)`
  return frame(
    html`${heading(name, lead(profile))}${profileCharts(profile)}<details open><summary>By block</summary>${gridHtml(blockTitles, blockGrid)}</details><details><summary>By layer</summary>${gridHtml(layerTitles, layerGrid)}</details><small>${limitText(profile)}${where !== null && html`<br>${where}`}</small>`,
    [name, lead(profile), limitText(profile), '', gridText(blockTitles, blockGrid), '', gridText(layerTitles, layerGrid), '', gridText(partTitles, partRows(profile)), where !== null && '', where],
  )
}
