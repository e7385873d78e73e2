import { tuneAllocator } from 'fettle-native'
import * as path from 'node:path'
import { FettleError, PlanError, serializeError } from '../errors'
import type { Meeting } from '../parallel/meet'
import type { Plan } from '../plan/plan'
import { resumeFrom } from '../train/checkpoint'
import { findCheckpoint, type CheckpointEntry } from '../train/checkpoints'
import { cleanLeftovers } from '../train/manifest'
import { newRunId } from '../run/control'
import type { DoneEvent } from '../run/events'
import type { Channel } from './channel'
import { Commands } from './commands'
import { openControl } from './control'
import { Logs } from './logs'
import { explainExhausted } from './memory'
import { train } from './loop'
import { Reporter } from './reporter'
import { serveModel } from './serve'
import { openSession } from './session'
import { Tasks } from './tasks'

/**
 * The life of a rank worker: plan in, training, final weights out, then answers on the live weights until it is closed.
 * Returns the process's exit code; a failure has then been told as a `failed` event.
 */
export async function runWorker(channel: Channel): Promise<number> {
  channel.send({ kind: 'ready' })
  const opening = await channel.start()
  if (opening === null) return 0 // the front went away before it said what to do
  if (opening.kind === 'serve') return serveModel(opening.serve, channel)
  const { plan, run = newRunId(), meeting = null } = opening
  const reporter = new Reporter(channel, plan.logEvery, run)
  const control = await openControl(channel, { run, plan, detached: opening.detached ?? false }, reporter)
  const explained = (error: unknown): unknown => explainExhausted(error, plan, reporter.lastStep)
  process.on('uncaughtException', (error) => void fail(explained(error), reporter, channel).then(() => process.exit(1)))
  try {
    await live(plan, meeting, channel, reporter)
    return 0
  } catch (error) {
    await fail(explained(error), reporter, channel)
    return 1
  } finally {
    reporter.close()
    await Promise.all([channel.flush(), control.close()])
  }
}

async function live(plan: Plan, meeting: Meeting | null, channel: Channel, reporter: Reporter): Promise<void> {
  const started = performance.now(), output = path.resolve(plan.output)
  const done = (atStep: number, stopped: boolean, best?: DoneEvent['best']): void => { reporter.event({ type: 'done', atStep, stopped, output, ...(best === undefined ? {} : { best }), ms: performance.now() - started }) }
  tuneAllocator()
  const checkpoint = await openOutput(plan, output, reporter)
  // A stop while data is prepared or a model fetched does not wait for that: the process ends, and its helpers with it.
  const abort = new AbortController()
  const opening = openSession(plan, output, reporter, abort.signal, { checkpoint: checkpoint?.folder ?? null, meeting })
  const session = await Promise.race([opening, channel.leaving.then(() => null)])
  if (session === null) {
    opening.catch(() => undefined) // it fails because of the abort
    abort.abort()
    done(checkpoint?.step ?? 0, true)
    return answerStops(channel)
  }
  try {
    if (checkpoint !== null && session.trainer !== null) resumeFrom(checkpoint, session.trainer, reporter.warn)
    if (plan.report.length > 0) reporter.use(new Logs({ plan, output, startStep: checkpoint?.step ?? 0, warn: reporter.warn }))
    const tasks = new Tasks(session, reporter, channel)
    const commands = new Commands(channel, tasks, reporter)
    const { stopped, best } = await train(session, tasks, commands, reporter)
    if (stopped) await leaveCheckpoint(tasks, commands)
    done(tasks.step, stopped, best)
    commands.stopped(null) // a stop that came with the last step
    if (!commands.closing) await commands.serve()
    session.control?.tell({ kind: 'end' })
  } catch (error) {
    throw await session.followers?.explain(error) ?? error
  } finally {
    await session.followers?.close()
  }
}

/** A stop ends with a checkpoint, so that a resume loses nothing; with none before the first step. */
async function leaveCheckpoint(tasks: Tasks, commands: Commands): Promise<void> {
  try {
    commands.stopped(tasks.step === 0 ? null : await tasks.saveOnce())
  } catch (error) {
    commands.stopped(null, error)
    throw error
  }
}

/** Before there was anything to save. */
function answerStops(channel: Channel): void {
  for (let ask = channel.take(); ask !== undefined; ask = channel.take()) {
    const { id, command: { name } } = ask
    if (name === 'stop' || name === 'close') channel.send({ kind: 'reply', id, value: name === 'stop' ? { path: null } : undefined })
    else channel.send({ kind: 'reply', id, error: serializeError(new PlanError('run.state', `the run was stopped before its first step, so that ${name}() has nothing to work on; start it again`, { command: name, state: 'stopped' })) })
  }
}

/** Finds the checkpoint to go on from, and opens the log from its step on. */
async function openOutput(plan: Plan, output: string, reporter: Reporter): Promise<CheckpointEntry | null> {
  cleanLeftovers(output)
  try {
    const checkpoint = plan.resume === null ? null : await findCheckpoint(output, plan.resume, reporter.warn)
    reporter.open(output, checkpoint?.step ?? null)
    return checkpoint
  } catch (error) {
    reporter.open(output, null) // the failure that follows stands in the log too
    throw error
  }
}

async function fail(error: unknown, reporter: Reporter, channel: Channel): Promise<void> {
  // For worker.log: the event carries the message, the stack helps to report a fault of Fettle's own.
  process.stderr.write(`${error instanceof FettleError ? error.message : (error as Error)?.stack ?? String(error)}\n`)
  reporter.event({ type: 'failed', error: serializeError(error) })
  await channel.flush()
}
