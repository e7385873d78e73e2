import { spawn, type ChildProcess } from 'node:child_process'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import { sft, stepOf, type AttachedRun, type Run, type RunEvent, type Sft } from 'fettle'
import { isAlive } from 'fettle/dist/process'
import { repoRoot } from './paths'
import { tinyData, tinyModel } from './tiny'

/** A LoRA run on the tiny model, long enough to be controlled when `steps` says so. */
export function tinyRun(folder: string, steps: number): Sft {
  return sft(tinyModel(path.join(folder, 'model'))).data(tinyData(path.join(folder, 'data')), { maxLength: 64 })
    .lora({ rank: 4 }).steps(steps).batch(2).save({ each: 'never' }).threads(1).output(path.join(folder, 'out'))
}

/** Ends the run's worker with the test. */
export function closing(t: TestContext, run: Run): Run {
  t.after(async () => { run.kill(); await run.close() })
  return run
}

/** Lets go of an attached run with the test. */
export function leaving(t: TestContext, run: AttachedRun): AttachedRun {
  t.after(() => run.close())
  return run
}

/** Waits for an event, from the run's first on. */
export async function reached(run: Run | AttachedRun, type: RunEvent['type'], step = 0): Promise<void> {
  for await (const event of run) if (event.type === type && (stepOf(event) ?? step) >= step) return
  throw new Error(`the run ended before ${type} ${step}`)
}

/** Runs a script in a process of its own, with `args` as its arguments. */
export function script(t: TestContext, code: string, ...args: string[]): { child: ChildProcess; exit: Promise<{ code: number | null; out: string }>; line: Promise<string> } {
  const child = spawn(process.execPath, ['-e', code, ...args], { cwd: repoRoot, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => { child.kill('SIGKILL') })
  let out = ''
  const line = new Promise<string>((resolve) => child.stdout!.setEncoding('utf8').on('data', (data: string) => {
    out += data
    if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')))
  }))
  return { child, line, exit: new Promise((resolve) => child.on('close', (code) => resolve({ code, out: out.trim() }))) }
}

/** Waits until something holds; fails after `ms`. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  const deadline = Date.now() + ms
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`still not: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export function gone(pid: number): Promise<void> { return until(`process ${pid} is gone`, () => !isAlive(pid)) }

/** Ends a worker with the test, by process id. */
export function ending(t: TestContext, pid: number): void {
  t.after(() => { try { process.kill(-pid, 'SIGKILL') } catch { /* It has ended. */ } })
}
