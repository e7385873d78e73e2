import { basename } from 'node:path'
import type { CheckpointFacts } from '../../inspect/types'
import { digits, whole } from '../format'
import { html } from '../html'
import type { TextAndHtml } from '../tables'
import { bytesText, frame, gridHtml, gridText, heading, notesHtml, notesText, timeText, type Cell } from './frame'

const loss = (value: number | null): Cell => ({ number: value === null || !Number.isFinite(value) ? '–' : digits(value, 4) })

/** Checkpoints of a run: which are whole, how good, and where a resume would go on. */
export function checkpointsView({ dir, checkpoints, verified }: { readonly dir: string; readonly checkpoints: readonly CheckpointFacts[]; readonly verified: boolean }): TextAndHtml {
  const name = checkpoints.length === 0 ? 'No checkpoint yet' : `${checkpoints.length} checkpoint${checkpoints.length === 1 ? '' : 's'}`
  const next = checkpoints.find(({ resumes }) => resumes)
  const broken = checkpoints.filter(({ state }) => state === 'broken')
  const lead = [dir, ...(checkpoints.length === 0 ? [] : [next ? `.resume() goes on after step ${whole(next.step)}` : 'none is whole: .resume() finds nothing'])].join(' · ')
  const titles = ['step', 'state', 'written', 'size#', 'loss#', 'evaluation#', 'holds']
  const rows = checkpoints.map((c): Cell[] => [
    whole(c.step), c.state === 'broken' ? 'broken' : c.resumes ? 'whole, next to resume' : 'whole', c.time === null ? '–' : timeText(c.time),
    { number: bytesText(c.bytes) }, loss(c.loss), loss(c.evalLoss), c.kind ?? '–',
  ])
  const notes = broken.map(({ folder, reason }) => `${basename(folder)}: ${reason}`)
  const checked = checkpoints.length > 0 && (verified ? 'Every file was compared with its SHA-256.' : 'Sizes were compared; { verify: true } compares contents too.')
  return frame(
    html`${heading(name, lead)}${checkpoints.length > 0 && gridHtml(titles, rows)}${notesHtml(notes)}<small>${checked}</small>`,
    [name, lead, checkpoints.length > 0 && `\n${gridText(titles, rows)}`, notesText(notes), checked],
  )
}
