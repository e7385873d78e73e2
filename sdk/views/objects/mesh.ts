import { meshText, rankAt, worldSize, type MeshShape } from '../../parallel/mesh/mesh'
import type { LayerRange } from '../../models/share'
import { clip, whole } from '../format'
import { html, type Html } from '../html'
import type { TextAndHtml } from '../tables'
import { frame, gridText, heading } from './frame'

/** What is known of a mesh beside its degrees. */
export interface MeshFacts {
  /** Ranges of layers in order, each stage's next one after the last stage's: as many as stages, or a multiple where stages are interleaved. */
  readonly layers?: readonly LayerRange[]
  /** Device of each rank, by rank. */
  readonly devices?: readonly string[]
}

/** Replicas beyond these are told by their number: they look like the first ones. */
const shownReplicas = 16, shownRanks = 512

/** `layers 0–14`; of an interleaved stage `layers 0–3, 8–11`. */
function layersText({ pp }: MeshShape, layers: readonly LayerRange[], stage: number): string {
  const ranges = layers.filter((_, i) => i % pp === stage).map(({ start, end }) => (end - start === 1 ? `${start}` : `${start}–${end - 1}`))
  return ranges.length === 0 ? '' : `layer${ranges.length === 1 && !ranges[0].includes('–') ? '' : 's'} ${ranges.join(', ')}`
}

/** A rank's cell: its number and device. */
function rankText(rank: number, devices: readonly string[]): string { return [`${rank}`, devices[rank]].filter((part) => part !== undefined).join(' ') }

/** Replicas, that is places on the two data axes, with their names: `dp 0 · sharding 1`. */
function replicasOf(shape: MeshShape): { readonly name: string; readonly dp: number; readonly sharding: number }[] {
  const most = Math.max(1, Math.min(shownReplicas, Math.floor(shownRanks / (shape.pp * shape.tp))))
  return Array.from({ length: Math.min(most, shape.dp * shape.sharding) }, (_, i) => {
    const dp = Math.floor(i / shape.sharding), sharding = i % shape.sharding
    const name = [shape.dp > 1 && `dp ${dp}`, shape.sharding > 1 && `sharding ${sharding}`].filter(Boolean).join(' · ')
    return { name, dp, sharding }
  })
}

/** How many ranks there are, and of what kinds. */
function leadOf({ dp, sharding, pp, tp }: MeshShape): string {
  const parts = [
    dp > 1 && `${whole(dp)} replicas`, sharding > 1 && `state shared by ${whole(sharding)}`, pp > 1 && `${whole(pp)} pipeline stages`, tp > 1 && `matrices cut in ${whole(tp)}`,
  ].filter(Boolean)
  return parts.length === 0 ? 'the whole model on one device' : parts.join(' · ')
}

/**
 * The ranks of a mesh as a grid: a row a replica, a column a pipeline stage, the tensor-parallel ranks of a stage below each
 * other. Each has its number and device; its layers stand over the column.
 */
export function meshView(shape: MeshShape, { layers = [], devices = [] }: MeshFacts = {}): TextAndHtml {
  const ranks = worldSize(shape), all = shape.dp * shape.sharding
  const stages = Array.from({ length: shape.pp }, (_, pp) => ({ pp, name: shape.pp > 1 ? `stage ${pp}` : '', layers: layersText(shape, layers, pp) }))
  const replicas = replicasOf(shape), lines = Array.from({ length: shape.tp }, (_, tp) => tp)
  const cell = (replica: { dp: number; sharding: number }, pp: number, tp: number): string => clip(rankText(rankAt(shape, { dp: replica.dp, sharding: replica.sharding, pp, tp }), devices), 60)
  const more = all > replicas.length ? `and ${whole(all - replicas.length)} more replicas, cut in the same way` : null
  const title = ranks === 1 ? '1 rank' : `${whole(ranks)} ranks: ${meshText(shape)}`
  const body = replicas.map((replica): Html => html`<tr><th scope="row">${replica.name}</th>${stages.map(({ pp }) => html`<td>${lines.map((tp) => html`<div>${cell(replica, pp, tp)}</div>`)}</td>`)}</tr>`)
  const head = stages.map(({ name, layers: range }) => html`<th scope="col">${name}${name !== '' && range !== '' && ', '}${range}</th>`)
  const text = replicas.flatMap((replica) => lines.map((tp) => [tp === 0 ? replica.name : '', ...stages.map(({ pp }) => cell(replica, pp, tp))]))
  return frame(
    html`${heading(title, leadOf(shape))}<div class="fettle-scroll" tabindex="0"><table><thead><tr><td></td>${head}</tr></thead><tbody>${body}</tbody></table></div>${more !== null && html`<small>${more}</small>`}`,
    [title, leadOf(shape), '', gridText(['', ...stages.map(({ name, layers: range }) => [name, range].filter((part) => part !== '').join(', ') || 'rank')], text), more],
  )
}
