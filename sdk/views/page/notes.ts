import { nothing, pathInRun, statusWords } from '../figures'
import { percent, whole } from '../format'
import type { BoardRank, BoardState } from '../state'
import { h, Rebuilt } from './dom'

/** One line for one rank: device, threads, memory, work, process. */
function rankCells({ rank, status, device, host, pid, threads, memory, utilisation }: BoardRank): string[] {
  return [
    `rank ${rank}`, statusWords[status].toLowerCase(), device, `${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    memory === null ? nothing : `${whole(memory)} MiB`, utilisation === null ? nothing : `${percent(utilisation)} busy`,
    host ? `process ${pid} on ${host}` : `process ${pid}`,
  ]
}

function ranks(list: readonly BoardRank[]): Node[] {
  // A single rank has the status of the run, which stands above.
  if (list.length === 1) return [h('div', { class: 'fb-rank', text: rankCells(list[0]).slice(2).join('  ·  ') })]
  const rows = list.map((rank) => h('tr', {}, ...rankCells(rank).map((text, i) => (i === 0 ? h('th', { scope: 'row', text }) : h('td', { text })))))
  return list.length === 0 ? [] : [h('div', { class: 'fb-scroll', tabindex: '0', role: 'region', 'aria-label': 'Ranks' }, h('table', { class: 'fb-ranks' }, h('tbody', {}, ...rows)))]
}

/** A titled list; nothing where it is empty. */
function list(title: string, kind: string, items: readonly HTMLElement[]): HTMLElement | null {
  return items.length === 0 ? null : h('section', { class: `fb-note fb-note-${kind}` }, h('h4', { text: title }), h('ul', {}, ...items))
}

const atStep = (step: number | null) => (step === null ? null : h('small', { text: `step ${whole(step)}` }))

type Noted = Pick<BoardState, 'dir' | 'warnings' | 'saved' | 'commands'>

function notes({ dir, warnings, saved, commands }: Noted): Node[] {
  const lists = [
    list('Warnings', 'warnings', warnings.map(({ message, step, count }) => h('li', {}, h('span', { text: message, dir: 'auto' }), atStep(step), count > 1 ? h('small', { text: `${whole(count)} times` }) : null))),
    list('Saved', 'saved', saved.slice(-4).reverse().map(({ step, path, final }) => h('li', {}, h('span', { class: 'fb-path', text: pathInRun(path, dir), title: path, dir: 'auto' }), h('small', { text: final ? 'final weights' : `step ${whole(step)}` })))),
    list('Commands', 'commands', [...commands].reverse().map((text) => h('li', { text, dir: 'auto' }))),
  ]
  return lists.filter((element): element is HTMLElement => element !== null)
}

/** Ranks, warnings, checkpoints and commands, under the charts: they grow without moving what is above. */
export class Notes {
  readonly element: HTMLElement
  private readonly ranks: Rebuilt<readonly BoardRank[]>
  private readonly notes: Rebuilt<Noted>

  constructor() {
    const [rankPlace, notePlace] = [h('div', { class: 'fb-rank-place' }), h('div', { class: 'fb-notes' })]
    this.ranks = new Rebuilt(rankPlace, ranks)
    this.notes = new Rebuilt(notePlace, notes)
    this.element = h('div', {}, rankPlace, notePlace)
  }

  update({ ranks: rows, dir, warnings, saved, commands }: BoardState): void {
    this.ranks.update(rows)
    this.notes.update({ dir, warnings, saved, commands })
  }
}
