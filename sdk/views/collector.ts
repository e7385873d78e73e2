import type { CommandEvent, DoneEvent, EvalEvent, FailedEvent, RunEvent, SampleEvent, SavedEvent, StartedEvent, StepEvent } from '../run/events'
import type { BoardOptions } from './board-data'
import { samplesOf, spread } from './board-samples'
import { Clock } from './clock'
import { isOver } from './figures'
import { rateText, short, start } from './format'
import type { BoardCommand, BoardData, BoardRank, BoardSamples, BoardState } from './state'
import { five, Thinned } from './thin'

type Warning = BoardState['warnings'][number]

const shown = { warnings: 5, commands: 5, saved: 12 }

/** Takes the events of a run one by one and tells what its board shows. */
export class Collector {
  private readonly steps = new Thinned()
  private readonly clock = new Clock()
  private started: StartedEvent | null = null
  private last: StepEvent | null = null
  private done: DoneEvent | null = null
  private failed: FailedEvent | null = null
  private stopping = false
  private evals = new Map<number, EvalEvent>()
  private samples: SampleEvent[] = []
  private made: BoardSamples | null = null
  private saved = new Map<string, SavedEvent>()
  private warnings = new Map<string, Warning>()
  private commands: string[] = []

  /** Takes the next event; `false` when it is a step that came before: then begin anew without those steps. */
  take(event: RunEvent): boolean {
    if (event.type === 'step' && this.last && event.step <= this.last.step) return false
    this.clock.take(event)
    switch (event.type) {
      case 'step': this.steps.add(event); this.last = event; break
      case 'started': this.started = event; this.done = this.failed = null; this.stopping = false; break
      case 'eval': this.evals.set(event.atStep, event); break
      case 'sample': this.samples.push(event); this.made = null; break
      case 'saved': for (const path of [event.path, ...event.removed ?? []]) this.saved.delete(path); this.saved.set(event.path, event); break
      case 'uploaded': this.saved.set(event.url, { type: 'saved', time: event.time, atStep: event.atStep, path: event.url, final: true }); break
      case 'warning': this.warn(event.code, event.message); break
      case 'command': this.command(event); break
      case 'done': this.done = event; break
      case 'failed': this.failed = event; break
      case 'prepared': break
    }
    return true
  }

  data(options: BoardOptions): BoardData {
    this.made ??= samplesOf(this.samples)
    return { state: this.state(options), samples: this.made }
  }

  private warn(code: string, message: string): void {
    const count = (this.warnings.get(code)?.count ?? 0) + 1
    // Put in anew, so that the newest is last.
    this.warnings.delete(code)
    this.warnings.set(code, { code: start(code, 100), message: start(message), step: this.last?.step ?? null, count })
  }

  private command(event: CommandEvent): void {
    if (event.command === 'stop') this.stopping = true
    const words = event.command === 'set' && event.learningRate !== undefined ? `learning rate ${rateText(event.learningRate)}` : start(event.command, 60)
    this.commands = [...this.commands, `${words} (step ${event.atStep})`].slice(-shown.commands)
  }

  private status(options: BoardOptions): BoardState['status'] {
    if (this.failed) return 'failed'
    if (this.done) return this.done.stopped ? 'stopped' : 'done'
    if (options.crashed) return options.crashed.code === 'run.lost' ? 'lost' : 'crashed'
    if (this.stopping) return 'stopping'
    if (!this.started) return 'preparing'
    return this.clock.paused ? 'paused' : 'training'
  }

  private state(options: BoardOptions): BoardState {
    const { started, last } = this
    const status = this.status(options)
    const over = isOver(status)
    const points = options.maxPoints ?? (over ? 1000 : 250)
    const step = last?.step ?? started?.startStep ?? 0
    const totalSteps = last?.totalSteps ?? started?.totalSteps ?? 0
    return {
      version: 1, run: options.run ?? '', status, title: started ? start(started.model, 300) : '', about: aboutOf(started, options.method),
      dir: options.dir ?? '', detached: options.detached ?? false,
      preparing: over || last ? null : options.progress ? { stage: start(options.progress.stage, 200), done: options.progress.done, total: options.progress.total } : null,
      step, totalSteps, epoch: five(last?.epoch) ?? 0, epochs: five(started?.epochs) ?? 0, loss: five(this.steps.smoothLoss),
      elapsed: Math.round(this.clock.elapsed(over ? null : options.now ?? null)), left: over || !started ? null : this.clock.left(totalSteps - step),
      learningRate: five(last?.learningRate), tokensPerSecond: five(this.clock.tokensPerSecond),
      series: this.steps.series(points), evals: this.evalsOf(Math.ceil(points / 4)),
      saved: [...this.saved.values()].slice(-shown.saved).map(({ atStep, path, final }) => ({ step: atStep, path: start(path, 300), final })),
      ranks: this.ranks(status), warnings: [...this.warnings.values()].slice(-shown.warnings), commands: this.commands,
      error: this.error(options), controls: allowed(status, options.controls ?? []),
    }
  }

  private evalsOf(limit: number): BoardState['evals'] {
    const events = [...this.evals.values()].sort((a, b) => a.atStep - b.atStep)
    return spread(events, limit).map(({ atStep, loss, perplexity, accuracy }) => ({ step: atStep, loss: five(loss), perplexity: five(perplexity), accuracy: five(accuracy) }))
  }

  private ranks(status: BoardState['status']): BoardRank[] {
    const { started, last } = this
    if (!started) return []
    return [{ rank: 0, status, device: start(started.device, 100), host: start(started.host ?? '', 100), pid: started.pid, threads: started.threads, memory: five(last?.memory), utilisation: five(last?.utilisation) }]
  }

  private error(options: BoardOptions): BoardState['error'] {
    const error = this.failed?.error ?? (this.done ? null : options.crashed)
    return error ? { name: error.name, code: error.code, message: start(error.message, 2000) } : null
  }
}

function aboutOf(started: StartedEvent | null, method: string | undefined): string {
  if (!started) return method ?? ''
  const { trainable, parameters, device } = started
  const share = trainable === parameters ? `all ${short(parameters)} parameters train` : `${short(trainable)} of ${short(parameters)} parameters train`
  return [method, share, start(device, 100)].filter(Boolean).join(', ')
}

/** Of the commands that reach the run those that its status leaves room for. */
function allowed(status: BoardState['status'], names: readonly BoardCommand['name'][]): BoardCommand['name'][] {
  if (isOver(status) || status === 'stopping') return []
  const now = status === 'preparing' ? ['stop'] : [status === 'paused' ? 'resume' : 'pause', 'stop', 'save', 'sample', 'evaluate', 'set']
  return names.filter((name) => now.includes(name))
}
