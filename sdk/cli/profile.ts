import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { PlanError } from '../errors'
import { parseArguments, readArguments } from '../plan/arguments'
import type { Plan } from '../plan/plan'
import { Profile } from '../profile/profile'
import { attach } from '../run/attach'
import { metricsName } from '../run/folder'
import { readProfileOptions } from '../run/profile-options'
import { start } from '../run/start'
import type { Command } from './command'
import { exitCodes } from './exit'
import type { Flag, Parsed } from './flags'
import { ProgressLines } from './progress'
import { argumentFlags, argumentHelp, inArguments, openTokens, showGpus } from './run'
import type { Terminal } from './terminal'

const own: readonly Flag[] = [
  { name: 'steps', type: 'number', value: 'N', help: 'steps to record (3)' },
  { name: 'skip', type: 'number', value: 'N', help: 'steps to let pass before them (2; of a live run 0)' },
  { name: 'out', type: 'text', value: 'DIR', help: 'where the files go (the current folder; of a live run its own)' },
]

export const profileCommand: Command = {
  name: 'profile',
  summary: 'show where the time and memory of a few training steps go',
  usage: ['profile ARGS.json [--steps 3] [--out DIR] [--name value …]', 'profile MODEL --dataset_name_or_path DATA [--name value …]', 'profile OUTPUT_DIR'],
  flags: [...own, ...argumentFlags],
  details: argumentHelp,
  run: profile,
}

async function profile(parsed: Parsed, terminal: Terminal): Promise<number> {
  const { json, debug, help, steps, skip, out, ...overrides } = parsed.values, [target, extra] = parsed.positionals
  if (extra !== undefined) throw new PlanError('cli.extra', `expected one argument file or output folder, got ${JSON.stringify(extra)} too; try fettle profile ${target} --name value`, { extra })
  const live = target !== undefined && fs.existsSync(path.join(target, metricsName))
  const asked = readProfileOptions({ steps, skip: skip ?? (live ? 0 : 2) })
  const found = await (live ? ofRun(target, asked, overrides) : ofArguments(target, asked, overrides, terminal))
  const folder = path.resolve((out as string | undefined) ?? (live ? target : '.')), stem = path.join(folder, `profile-${found.steps[0].step}`)
  const files = { profile: found.save(`${stem}.json`), trace: found.chromeTrace(`${stem}.trace.json`), page: found.page(`${stem}.html`) }
  if (json === true) terminal.out(`${JSON.stringify({ files, totals: found.totals, limit: found.limit, blocks: found.blocks, layers: found.layers, peak: found.peak, parts: found.parts })}\n`)
  else terminal.out(`${new Profile(found.data).toString().trimEnd()}\n\nboth charts        ${files.page}\ntrace (Perfetto)   ${files.trace}\nall figures        ${files.profile}\n`)
  return exitCodes.ok
}

/** A run that trains: its next steps. */
async function ofRun(folder: string, asked: ReturnType<typeof readProfileOptions>, overrides: Readonly<Record<string, unknown>>): Promise<Profile> {
  const [name] = Object.keys(overrides)
  if (name !== undefined) throw new PlanError('plan.conflict', `--${name} changes nothing of a run that goes on; try fettle profile ${folder} alone, or an argument file`, { name })
  const run = await attach(folder)
  try { return await run.profile(asked) } finally { run.close() }
}

/** A few steps of a run of its own, of which nothing is kept. */
async function ofArguments(target: string | undefined, asked: ReturnType<typeof readProfileOptions>, overrides: Readonly<Record<string, unknown>>, terminal: Terminal): Promise<Profile> {
  const output = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-profile-')), given = { ...overrides, do_train: true, output_dir: output }
  const isFile = target !== undefined && (target.endsWith('.json') || fs.statSync(target, { throwIfNoEntry: false })?.isFile() === true && !target.endsWith('.gguf'))
  const lines = new ProgressLines(terminal, 1, false)
  try {
    const { plan, notes, tokens } = isFile ? readArguments(target, given) : parseArguments({}, target === undefined ? given : { ...given, model_name_or_path: target })
    for (const note of [...notes, ...openTokens(overrides)]) lines.line(`note: ${note}`)
    showGpus(plan.mesh)
    const run = await start(alone(plan, output, asked), { onEvent: (event) => lines.event(event), onProgress: (progress) => lines.progress(progress), tokens })
    const stop = (): void => run.kill()
    process.once('SIGINT', stop).once('SIGTERM', stop)
    try {
      // A run that fails before has more to say than that it cannot answer.
      return await Promise.race([run.profile(asked).catch(async (error: unknown) => { await run.done; throw error }), run.done.then(() => new Promise<never>(() => undefined))])
    } catch (error) { throw inArguments(error) } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop)
      run.kill()
      await run.close()
    }
  } finally {
    lines.clear()
    fs.rmSync(output, { recursive: true, force: true })
  }
}

/** The same training without all else. It ends by itself soon behind the last step that is looked into. */
function alone(plan: Plan, output: string, { steps, skip }: ReturnType<typeof readProfileOptions>): Plan {
  const never = { by: 'no' } as const
  return {
    ...plan, output, logEvery: 1, train: true, steps: steps + skip + 20, evaluate: never, evalAtEnd: false, predict: false, sample: { ...plan.sample, cadence: never }, save: { ...plan.save, cadence: never }, best: { ...plan.best, load: false, patience: null },
    resume: null, overwrite: true, upload: null, report: [], restart: 0,
  }
}
