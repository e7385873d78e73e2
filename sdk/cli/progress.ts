import { meshText } from '../parallel/mesh/mesh'
import type { CommandEvent, DoneEvent, EvalEvent, PredictEvent, PreparedEvent, RunEvent, StartedEvent, StepEvent } from '../run/events'
import type { RunProgress } from '../run/run'
import { clip, digits, duration, percent, short, whole } from '../views/format'
import { StatusLine, type Terminal } from './terminal'

/** Draws a run's events for a person: a bar that is drawn over on a terminal, plain lines elsewhere. */
export class ProgressLines {
  readonly #terminal: Terminal
  readonly #logEvery: number
  readonly #status: StatusLine
  #recent: StepEvent[] = []

  /** @param bars `false`: plain lines on a terminal too */
  constructor(terminal: Terminal, logEvery: number, private readonly bars = true) {
    this.#terminal = terminal
    this.#logEvery = logEvery
    this.#status = new StatusLine(terminal)
  }

  event(event: RunEvent): void {
    if (event.type === 'step') return this.#step(event)
    // A pause is no part of the pace.
    if (event.type === 'command' && event.command === 'resume') this.#recent = []
    for (const line of linesOf(event)) this.line(line)
  }

  /** A download or another long step before training. */
  progress({ stage, done, total }: RunProgress): void {
    if (this.bars) this.#status.show(stage, `${stage} ${total ? percent(done / total) : ''}`, stage)
  }

  /** A line that stays. */
  line(text: string): void {
    this.clear()
    // What a model says must not move the cursor or ring the bell.
    this.#terminal.err(`${text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd')}\n`)
  }

  /** Takes the bar away. */
  clear(): void { this.#status.clear() }

  #step(event: StepEvent): void {
    this.#recent = [...this.#recent.slice(-29), event]
    const live = this.#terminal.live && this.bars
    const left = `${duration(this.#left(event))} left`, narrow = this.#terminal.columns < 100
    const text = `${stepText(event, !(live && narrow))}  ${left}`
    if (live) this.#status.draw(`${bar(event.step / event.totalSteps, narrow ? 8 : 20)} ${text}`)
    else if (event.step % this.#logEvery === 0 || event.step === event.totalSteps || event.step === 1) this.line(text)
  }

  /** ms to the end at the pace of the last steps, what came between them included. */
  #left(event: StepEvent): number {
    const first = this.#recent[0]
    const pace = this.#recent.length > 1 ? (event.time - first.time) / (event.step - first.step || 1) : event.ms
    return pace * (event.totalSteps - event.step)
  }
}

function bar(share: number, width: number): string {
  const full = Math.round(Math.min(1, share) * width)
  return `[${'#'.repeat(full)}${'-'.repeat(width - full)}] ${percent(share)}`
}

function stepText(event: StepEvent, withRate: boolean): string {
  const rate = withRate ? `  lr ${Number(event.learningRate.toPrecision(3))}` : ''
  return `step ${event.step}/${event.totalSteps}  loss ${digits(event.loss, 4)}${rate}  ${whole(event.tokensPerSecond)} tokens/s`
}

/** The lines that stay for an event; steps are drawn apart. */
function linesOf(event: RunEvent): string[] {
  switch (event.type) {
    case 'prepared': return preparedLines(event)
    case 'started': return startedLines(event)
    case 'eval': case 'predict': return [evalText(event)]
    case 'sample': return event.samples.flatMap(({ prompt, answer, reference }) => [
      `sample at step ${event.atStep}: ${clip(prompt, 100)}`, `  → ${clip(answer, 160)}`, ...(reference === null ? [] : [`  = ${clip(reference, 160)}`]),
    ])
    case 'saved': return [event.final ? `final weights in ${event.path}` : `checkpoint ${event.path}`]
    case 'uploaded': return [`uploaded to ${event.url}`]
    case 'warning': return [`warning: ${event.message}`]
    case 'command': return commandLines(event)
    case 'done': return [...(event.best ? [bestText(event.best)] : []), `${event.stopped ? 'stopped' : 'done'} after step ${event.atStep}, ${duration(event.ms)}`]
    default: return []
  }
}

function preparedLines({ split, rows, tokens, supervised, truncated, preview, packs }: PreparedEvent): string[] {
  return [
    `${split}: ${whole(rows)} rows, ${whole(tokens)} tokens, ${whole(supervised)} supervised${truncated > 0 ? `, ${whole(truncated)} rows cut` : ''}`,
    ...(packs === undefined ? [] : [`packed into ${whole(packs.count)} rows, ${percent(packs.filled)} of them tokens; padded batches would have been ${percent(packs.padding)} padding`]),
    ...(split === 'train' ? [`first row: ${clip(preview.text, 200)}`] : []),
  ]
}

function startedLines(event: StartedEvent): string[] {
  const from = event.startStep > 0 ? `, from step ${event.startStep}` : ''
  const ranks = event.ranks === undefined || event.mesh === undefined ? '' : ` by ${event.ranks} ranks, ${meshText(event.mesh)}`
  return [`${event.model}: ${short(event.trainable)} of ${short(event.parameters)} parameters train on ${event.device}${ranks} (${event.blocks} blocks, ${event.threads} thread${event.threads === 1 ? '' : 's'}${event.ranks === undefined ? '' : ' each'}), ${whole(event.totalSteps)} steps${from}`]
}

/** Commands of other fronts that change how it goes on; what the others do shows in events of its own. */
function commandLines({ command, atStep, learningRate }: CommandEvent): string[] {
  if (command === 'pause') return [`paused after step ${atStep}`]
  if (command === 'resume') return [`goes on after step ${atStep}`]
  return command === 'set' ? [`learning rate ${learningRate} from step ${atStep + 1} on, under the same schedule`] : []
}

/** An evaluation in one line. */
export function evalText(event: EvalEvent | PredictEvent): string {
  return `${event.type === 'eval' ? 'evaluation' : 'test rows'} at step ${event.atStep}: loss ${digits(event.loss, 4)}  perplexity ${digits(event.perplexity, 4)}  accuracy ${percent(event.accuracy)}  ${scoresText(event)}(${whole(event.rows)} rows)`
}

/** BLEU and Rouge of an evaluation that wrote answers. */
function scoresText({ bleu4, rouge1, rouge2, rougel }: Pick<EvalEvent, 'bleu4' | 'rouge1' | 'rouge2' | 'rougel'>): string {
  return bleu4 === undefined ? '' : `BLEU-4 ${digits(bleu4, 3)}  Rouge-1/2/L ${[rouge1!, rouge2!, rougel!].map((score) => digits(score, 3)).join('/')}  `
}

function bestText({ step, metric, value, loaded }: NonNullable<DoneEvent['best']>): string {
  return `best ${metric} ${digits(value, 4)} at step ${step}${loaded ? ': the final weights are those of its checkpoint' : ''}`
}
