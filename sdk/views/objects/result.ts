import type { RunResult } from '../../run/result'
import { digits, duration, whole } from '../format'
import { html } from '../html'
import type { TextAndHtml } from '../tables'
import { factsHtml, factsText, frame, heading, type Cell } from './frame'

const loss = (value: number | null): string => value === null || !Number.isFinite(value) ? '–' : digits(value, 4)

/** What a run left: how far it came, how good, and where the weights are. */
export function resultView(r: RunResult): TextAndHtml {
  const name = `${r.stopped ? 'Stopped' : 'Finished'} after ${whole(r.steps)} step${r.steps === 1 ? '' : 's'} in ${duration(r.ms)}`
  const facts: [string, Cell][] = [
    ['last loss', loss(r.loss)], ...(r.evalLoss === null ? [] : [['held-out loss', loss(r.evalLoss)] as [string, Cell]]),
    ...(r.test === null ? [] : [['test loss', `${loss(r.test.loss)} on ${whole(r.test.rows)} rows${r.test.bleu4 === undefined ? '' : `, BLEU-4 ${loss(r.test.bleu4)}, Rouge-L ${loss(r.test.rougel!)}`}`] as [string, Cell]]),
    ...(r.best === null ? [] : [['best', `${r.best.metric} ${loss(r.best.value)} after ${whole(r.best.step)} steps${r.best.loaded ? ', whose weights these are' : ''}`] as [string, Cell]]), [r.stopped ? 'checkpoints' : 'weights', r.output],
  ]
  const next = r.stopped && (r.steps > 0 ? '.resume() goes on from there.' : 'It made no step, so there is nothing to resume: start it again.')
  return frame(html`${heading(name, '')}${factsHtml(facts)}${next && html`<small>${next}</small>`}`, [name, factsText(facts), next])
}
