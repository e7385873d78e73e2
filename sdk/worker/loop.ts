import { getThreads, pageFaults, residentMemory, scope } from 'fettle-native'
import { hostname } from 'node:os'
import { elements } from '../models/flat'
import { storedWeights } from '../models/layout'
import type { Parameters } from '../models/parameters'
import { rangesOf } from '../parallel/shares'
import type { Cadence } from '../plan/plan'
import type { DoneEvent } from '../run/events'
import type { Trainer, TrainerStep } from '../train/trainer'
import type { Commands } from './commands'
import type { Profiling } from './profiling'
import type { Reporter } from './reporter'
import type { Session } from './session'
import type { Tasks } from './tasks'

/** How a run came to its end. */
export interface Outcome { readonly stopped: boolean; readonly best?: DoneEvent['best'] }

/** The run from its first step to its last, or to a stop before its end. */
export async function train(session: Session, tasks: Tasks, commands: Commands, reporter: Reporter): Promise<Outcome> {
  const { plan, trainer } = session
  const first = trainer?.step ?? 0
  tellStart(session, reporter, first)
  if (first === 0 && plan.sample.cadence.by !== 'no') await tasks.sample() // the untouched model's answers, to compare with
  const stopped = trainer !== null && await steps(trainer, session, tasks, commands, reporter)
  trainer?.close()
  tasks.profiling.close()
  if (stopped) return { stopped }
  if (trainer !== null && trainer.step > first && plan.sample.cadence.by !== 'no' && tasks.last.sample !== tasks.step) await tasks.sample()
  if (plan.evalAtEnd && tasks.last.eval !== tasks.step) await tasks.judge()
  const best = tasks.takeBest()
  if (trainer !== null) tasks.saveFinal()
  if (plan.predict) await tasks.predict()
  if (trainer !== null) await tasks.upload()
  return { stopped, best }
}

async function steps(trainer: Trainer, session: Session, tasks: Tasks, commands: Commands, reporter: Reporter): Promise<boolean> {
  const { plan } = session, { windows } = trainer.parts
  const due = (cadence: Cadence): boolean => cadence.by === 'steps' ? trainer.step % cadence.every === 0 : cadence.by === 'epoch' && trainer.endsEpoch
  while (trainer.step < windows.totalSteps) {
    await commands.between()
    if (commands.stopping) return true
    await rowsOf(trainer, tasks)
    runStep(trainer, tasks.profiling, reporter)
    tasks.profiling.behindStep()
    const evaluated = due(plan.evaluate)
    if (evaluated) await tasks.judge()
    if (due(plan.sample.cadence)) await tasks.sample()
    if (due(plan.save.cadence)) await tasks.saveIfRoom()
    if (evaluated && trainer.best.exhausted) {
      const { figure, state: { best, misses } } = trainer.best
      reporter.warn('train.early', `${misses} evaluations in a row brought no better ${figure} than ${best?.value} at step ${best?.step}: the run ends here, after step ${trainer.step} of ${windows.totalSteps}`)
      break
    }
  }
  // What was asked during the last step is answered before the end.
  await commands.between(true)
  return false
}

/** A bad row in the middle of a stream ends the run, whose steps so far are saved first. */
async function rowsOf(trainer: Trainer, tasks: Tasks): Promise<void> {
  try {
    await trainer.ready()
  } catch (error) {
    if (trainer.step > 0) await tasks.saveOnce()
    throw error
  }
}

function runStep(trainer: Trainer, profiling: Profiling, reporter: Reporter): void {
  const { windows } = trainer.parts
  profiling.begin()
  const started = performance.now(), faults = pageFaults().minor, cpu = process.cpuUsage()
  const step = profiling.next()
  const ms = performance.now() - started, { user, system } = process.cpuUsage(cpu)
  warnIfSkipped(step, reporter)
  reporter.event({
    type: 'step', step: step.step, totalSteps: windows.totalSteps, epoch: windows.epochsDone(step.step), loss: step.loss,
    learningRate: step.learningRate, gradNorm: step.gradNorm, ...(step.lossScale === undefined ? {} : { lossScale: step.lossScale }), tokens: step.tokens, supervised: step.supervised, ms,
    tokensPerSecond: step.tokens / ms * 1000, memory: residentMemory() / 2 ** 20, faults: pageFaults().minor - faults,
    utilisation: Math.min(1, (user + system) / 1000 / ms / getThreads()),
  })
}

function warnIfSkipped({ outcome, step, rows, loss, gradNorm, lossScale }: TrainerStep, reporter: Reporter): void {
  const which = `rows ${rows.slice(0, 16).join(', ')}${rows.length > 16 ? ', …' : ''} (counted from 0)`
  if (outcome === 'no-labels') reporter.warn('train.no-labels', `step ${step} changed nothing: none of its ${which} has an answer to learn`)
  if (outcome === 'overflow') reporter.warn('train.overflow', `step ${step} changed nothing: its gradient does not fit fp16 at a loss scale of ${lossScale}, which halves; this is usual in the first steps`)
  if (outcome === 'not-finite') reporter.warn('train.not-finite', `step ${step} changed nothing: its loss is ${loss} and its gradient norm ${gradNorm}, on ${which}; a lower learning rate or fp32 may help`)
}

function tellStart({ plan, decoder, trainer, ranks }: Session, reporter: Reporter, startStep: number): void {
  const { parameters, blocks } = decoder
  const count = (list: readonly { readonly value: { readonly numel: number } }[]): number => list.reduce((sum, { value }) => sum + value.numel, 0)
  const [own, trainable] = ranks.size === 1 ? scope(() => [count(parameters.named()), count(parameters.trainable())]) : countWhole(parameters)
  const totalSteps = trainer?.parts.windows.totalSteps ?? 0
  reporter.event({
    type: 'started', pid: process.pid, host: hostname(), model: plan.model,
    parameters: own + (parameters.adapter === null ? 0 : trainable), trainable, totalSteps, startStep,
    epochs: trainer?.parts.windows.epochsDone(totalSteps) ?? 0, device: parameters.device,
    ...(ranks.size === 1 ? {} : { ranks: ranks.size, mesh: ranks.shape, stages: rangesOf(parameters.architecture, plan.mesh) }), blocks: blocks.form === 'fused' || blocks.form === 'cuda' ? blocks.form : 'plain', threads: getThreads(),
  })
}

/** Parameters of the whole model and of what trains, where this rank holds a part of them. */
function countWhole(parameters: Parameters): [all: number, trainable: number] {
  const { architecture, names, adapter } = parameters, sum = (shapes: readonly (readonly number[])[]): number => shapes.reduce((total, shape) => total + elements(shape), 0)
  const all = sum(storedWeights(architecture, names).map(({ shape }) => shape))
  return [all, adapter === null ? (parameters.flat === null ? 0 : all) : sum(adapter.shapes())]
}
