import * as path from 'node:path'
import { PlanError } from '../errors'
import { refuseRanks } from '../parallel/mesh/fit'
import { rankFromEnvironment } from '../parallel/launch'
import { groups, fields, parseArguments, readArguments, type Field } from '../plan/arguments'
import type { MeshPlan } from '../plan/plan'
import { inFlags } from '../run/death'
import { metricsName } from '../run/folder'
import { start } from '../run/start'
import type { Run } from '../run/run'
import type { Command } from './command'
import { followLauncher } from './follow'
import { exitCodes } from './exit'
import type { Flag, Parsed } from './flags'
import { ProgressLines } from './progress'
import type { Terminal } from './terminal'

/** Arguments as flags: their values are read by the argument table, which knows their types. */
export const argumentFlags: readonly Flag[] = fields.map((field): Flag => ({ name: field.name, type: field.type === 'flag' ? 'flag' : 'text', help: field.note, aliases: field.aliases }))

const flags: readonly Flag[] = [
  ...argumentFlags,
  { name: 'detach', type: 'flag', help: 'leave the run to itself once it trains; it outlives this command' },
]

export const runCommand: Command = {
  name: 'run',
  summary: 'train or evaluate as an argument file says',
  usage: ['run ARGS.json [--name value …]', 'run ARGS.json --ranks 4 [--device cpu]', 'run ARGS.json --gpus 0,1,2,3', 'run --model_name_or_path MODEL --dataset_name_or_path DATA --output_dir DIR --do_train [--name value …]'],
  flags,
  details: argumentHelp,
  run: runArguments,
}

async function runArguments(parsed: Parsed, terminal: Terminal): Promise<number> {
  const { json, debug, help, detach, ...overrides } = parsed.values
  const [file, extra] = parsed.positionals
  if (extra !== undefined) throw new PlanError('cli.extra', `expected one argument file, got ${JSON.stringify(extra)} too; try fettle run ${file} --name value`, { extra })
  const place = rankFromEnvironment(process.env)
  // How many ranks there are is the launcher's to say, and what each axis gets of them the file's.
  const given = place === null || place.worldSize === 1 ? overrides : { ranks: String(place.worldSize), ...overrides }
  const { plan, notes, tokens } = file === undefined ? parseArguments({}, given) : readArguments(file, given)
  if (place !== null) refuseRanks(plan.mesh, place.worldSize)
  showGpus(plan.mesh)
  if (place !== null && place.rank > 0) return followLauncher(plan, place, terminal)
  const lines = new ProgressLines(terminal, plan.logEvery, plan.progress)
  for (const note of [...notes, ...openTokens(overrides)]) lines.line(`note: ${note}`)
  const starting = start(plan, {
    onEvent: (event) => {
      if (json) terminal.out(`${JSON.stringify(event)}\n`)
      lines.event(event)
    },
    onProgress: (progress) => lines.progress(progress),
    detached: detach === true, tokens, ...(place === null || place.worldSize === 1 ? {} : { meeting: place }),
  })
  return watch(await starting.catch((error: unknown) => { throw inArguments(error) }), lines, terminal)
}

/** A command line is seen by every user of the machine while the command starts. */
export function openTokens(overrides: Readonly<Record<string, unknown>>): string[] {
  return fields.filter(({ name, status }) => status === 'secret' && overrides[name] !== undefined)
    .map(({ name }) => `${name} is safer in the environment than on a command line: other users of the machine may have seen it`)
}

/** Workers see no other GPUs than those that the plan names. */
export function showGpus({ devices }: MeshPlan): void {
  if (devices !== null) process.env.CUDA_VISIBLE_DEVICES = devices.join(',')
}

/** The same error in the names of this command: a worker's death and a mesh that cannot be bring their remedy in both languages. */
export function inArguments(error: unknown): unknown {
  if (!(error instanceof PlanError)) return inFlags(error)
  const { remedy, remedyFlags } = error.details
  if (typeof remedy !== 'string' || typeof remedyFlags !== 'string') return error
  return new PlanError(error.code, error.message.replace(remedy, () => remedyFlags), { ...error.details, remedy: remedyFlags }, { cause: error.cause })
}

/** Errors of runs: an event told them before they were thrown. */
const told = new WeakSet<object>()

function alreadyTold(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) told.add(error)
  return error
}

/** True for an error that `--json` has shown as an event. */
export function isTold(error: unknown): boolean { return typeof error === 'object' && error !== null && told.has(error) }

/** True once training has begun; false when it ended before. */
async function begun(run: Run): Promise<boolean> {
  for await (const event of run) if (event.type === 'started') return run.state === 'training'
  return false
}

/** ms that a run which has not begun may take to stop: less than a launcher gives its ranks. */
const startGrace = 10_000

/** Waits for the end, or of a detached run for its beginning; a first signal stops cleanly, a second at once. */
async function watch(run: Run, lines: ProgressLines, terminal: Terminal): Promise<number> {
  let code: number = exitCodes.ok, killed = false, unheard: NodeJS.Timeout | undefined
  const kill = (): void => { killed = true; run.kill() }
  const onSignal = (signal: NodeJS.Signals): void => {
    if (code !== exitCodes.ok) return kill()
    code = signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated
    lines.line('stopping after this step, with a checkpoint; once more to end at once')
    // Before its first step it has nothing to save, and a rank that waits for others which never come hears nothing.
    if (run.state === 'starting') unheard = setTimeout(kill, startGrace)
    run.stop().catch(() => { /* `done` below tells it. */ })
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  try {
    if (run.detached && await begun(run)) {
      lines.line(`process ${run.pid} goes on by itself: see ${path.join(run.dir, metricsName)}, or attach(${JSON.stringify(run.dir)}) from a script or notebook; kill ${run.pid} stops it with a checkpoint`)
      return code
    }
    const result = await run.done
    lines.clear()
    if (!result.stopped && code !== exitCodes.ok) code = exitCodes.ok
    return code
  } catch (error) {
    if (!killed) throw alreadyTold(inArguments(error))
    terminal.err('ended without a checkpoint of the last steps\n')
    return code
  } finally {
    clearTimeout(unheard)
    lines.clear()
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    await run.close()
  }
}

/** What a field does, or why it does nothing. */
function noteOf({ status, note }: Field): string { return marks[status] + note }

const marks: Record<Field['status'], string> = { plan: '', secret: '', note: 'accepted, changes nothing: ', notYet: 'not there yet: ' }

/** The argument table as text. */
export function argumentHelp(): string {
  const line = (field: Field) => `    --${field.name} (${JSON.stringify(field.default)})${field.aliases.length > 0 ? `, also ${field.aliases.join(', ')}` : ''}\n        ${noteOf(field)}`
  return Object.entries(groups).map(([title, group]) => `  ${title}\n${group.map(line).join('\n')}`).join('\n\n')
}
