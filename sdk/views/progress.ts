import { clip, digits, duration, percent, short, whole } from './format'
import { html, type Html } from './html'
import { seriesOf, smooth, type RunView } from './series'

/** Where a run stands, in numbers. All times come from the events, so that the same events give the same numbers. */
export interface Progress {
  readonly state: 'preparing' | 'training' | 'done' | 'stopped' | 'failed'
  readonly step: number
  readonly totalSteps: number
  readonly epoch: number
  /** Smoothed; `null` before the first step. */
  readonly loss: number | null
  readonly evalLoss: number | null
  readonly tokensPerSecond: number | null
  /** ms since the run started. */
  readonly elapsed: number
  /** ms to the last step at the pace of the last steps, evaluations included; `null` while unknown. */
  readonly left: number | null
}

const paceSteps = 30

export function progressOf(view: RunView): Progress {
  const { steps, started, done, failed } = view
  const last = steps.at(-1)
  const totalSteps = last?.totalSteps ?? started?.totalSteps ?? 0
  const end = Math.max(done?.time ?? 0, failed?.time ?? 0, last?.time ?? 0, view.evals.at(-1)?.time ?? 0, view.samples.at(-1)?.time ?? 0)
  const begun = started?.time ?? view.prepared[0]?.time ?? 0
  const recent = steps.slice(-paceSteps)
  const pace = recent.length > 1 ? (recent[recent.length - 1].time - recent[0].time) / (recent.length - 1) : null
  const state = failed ? 'failed' : done ? (done.stopped ? 'stopped' : 'done') : started ? 'training' : 'preparing'
  const tokens = recent.reduce((sum, event) => sum + event.tokens, 0)
  const ms = recent.reduce((sum, event) => sum + event.ms, 0)
  return {
    state, step: last?.step ?? started?.startStep ?? 0, totalSteps, epoch: last?.epoch ?? 0,
    loss: last ? smooth(seriesOf(steps, (event) => event.loss)).y.at(-1) ?? null : null,
    evalLoss: view.evals.at(-1)?.loss ?? null,
    tokensPerSecond: ms > 0 ? (tokens / ms) * 1000 : null,
    elapsed: begun && end > begun ? end - begun : 0,
    left: state === 'training' && pace !== null ? pace * (totalSteps - (last?.step ?? 0)) : null,
  }
}

const titles = { preparing: 'Preparing', training: 'Training', done: 'Done', stopped: 'Stopped', failed: 'Failed' } as const

/** Names and values that stand beside the bar. */
function figuresOf(p: Progress): [string, string][] {
  const figures: [string, string][] = []
  if (p.totalSteps > 0) figures.push(['step', `${whole(p.step)} of ${whole(p.totalSteps)}`])
  if (p.epoch > 0) figures.push(['epoch', p.epoch.toFixed(2)])
  if (p.loss !== null) figures.push(['loss', digits(p.loss, 4)])
  if (p.evalLoss !== null) figures.push(['held-out loss', digits(p.evalLoss, 4)])
  if (p.tokensPerSecond !== null) figures.push(['tokens/s', whole(p.tokensPerSecond)])
  if (p.elapsed > 0) figures.push(['time', duration(p.elapsed)])
  if (p.left !== null) figures.push(['left', duration(p.left)])
  return figures
}

/** The line above the charts: state, bar, figures, and what went wrong. */
export function progressHtml(view: RunView): Html {
  const p = progressOf(view)
  const share = p.totalSteps > 0 ? Math.min(1, p.step / p.totalSteps) : 0
  const { started } = view
  const about = started ? `${started.model}, ${short(started.trainable)} of ${short(started.parameters)} parameters train, ${started.device}` : ''
  return html`<div class="fettle-head"><b class="fettle-state fettle-${p.state}">${titles[p.state]}</b> <span class="fettle-about">${about}</span></div>
<div class="fettle-bar" role="progressbar" aria-valuenow="${Math.round(share * 100)}" aria-valuemin="0" aria-valuemax="100"><i class="fettle-${p.state}" style="width:${(share * 100).toFixed(1)}%"></i></div>
<div class="fettle-figures">${figuresOf(p).map(([name, value]) => html`<span><small>${name}</small> ${value}</span> `)}</div>${
  view.warnings.slice(-3).map((warning) => html`<div class="fettle-warning">${warning.message}</div>`)}${
  view.failed && html`<div class="fettle-error">${view.failed.error.message}</div>`}`
}

/** The same as one line for terminals. */
export function progressText(view: RunView): string {
  const p = progressOf(view)
  const share = p.totalSteps > 0 ? ` ${percent(p.step / p.totalSteps)}` : ''
  const line = `${titles[p.state]}${share}: ${figuresOf(p).map(([name, value]) => `${name} ${value}`).join(', ') || 'no step yet'}`
  return view.failed ? `${line}\n${view.failed.error.message}` : line
}

/** What a run came to: for its end, and for `Run` as a cell's value. */
export function summaryText(view: RunView): string {
  const p = progressOf(view)
  const tokens = view.steps.reduce((sum, event) => sum + event.tokens, 0)
  const ms = view.steps.reduce((sum, event) => sum + event.ms, 0)
  const peak = view.steps.reduce((most, event) => Math.max(most, event.memory), 0)
  const [first, last] = [view.evals[0], view.evals.at(-1)]
  const lines = [progressText(view)]
  if (ms > 0) lines.push(`${whole(tokens)} tokens in ${view.steps.length} steps, ${whole((tokens / ms) * 1000)} tokens/s while training, at most ${whole(peak)} MiB`)
  if (first && last && first !== last) lines.push(`held-out loss ${digits(first.loss, 4)} → ${digits(last.loss, 4)}, token accuracy ${percent(first.accuracy)} → ${percent(last.accuracy)}`)
  if (view.done) lines.push(`saved in ${clip(view.done.output, 200)}`)
  if (p.state === 'training' && view.warnings.length > 0) lines.push(`${view.warnings.length} warnings, the last: ${view.warnings.at(-1)?.message}`)
  return lines.join('\n')
}
