// One run of one side: a whole process, its JSON lines read as they come.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'
import { TrainingError } from './error.mjs'
import { laws } from './prepare/rows.mjs'

const here = dirname(fileURLToPath(import.meta.url)), { rankFlags } = createRequire(import.meta.url)('fettle/dist/parallel/processes')

/** PEFT keeps adapters in fp32 as it comes; the best form has them in the model's type where the CPU multiplies that. */
function adapterDtype(form, { dtype, emulated }) { return dtype === 'bf16' && (form === 'default' || emulated) ? 'fp32' : 'model' }

function scriptOf(peer, form, name) {
  if (name === 'generate') return `${peer}_generate.py`
  return peer === 'peft' ? `peft_${form === 'default' ? 'default' : 'best'}.py` : `${peer}_train.py`
}

/** Command, words and environment of a side. `tools`: `{ pythons: { peer: path }, tcmalloc: path | undefined }`. */
export function commandOf(side, c, files, { pythons, tcmalloc }) {
  const flags = ['--case', c.case, '--dtype', c.dtype, '--threads', c.threads, '--steps', c.steps]
  if (side === 'fettle-run') return { command: process.execPath, args: [join(here, 'fettle', 'run.mjs'), files.model, files.text, ...flags.map(String), '--steps', '3', '--batch', String(laws[c.rows].batch)], env: {} }
  const all = [...flags, '--seconds', c.seconds, '--skip', c.skip, ...(c.case === 'lora' || c.case === 'prefix' ? ['--adapter', files[c.case]] : []), ...(c.case === 'generate' ? ['--batch', c.batch, '--prompt', c.prompt, '--new', c.fresh] : [])].map(String)
  // A rank's own process has these flags.
  if (side.startsWith('fettle')) return { command: process.execPath, args: [...rankFlags, join(here, 'fettle', c.case === 'generate' ? 'generate.mjs' : 'train.mjs'), files.model, files.rows, ...all, '--form', side === 'fettle' ? 'best' : 'plain'], env: {} }
  const [peer, form] = side.split(':')
  return {
    command: pythons[peer], args: ['-u', join(here, 'peers', scriptOf(peer, form, c.case)), files.model, files.rows, ...all, '--form', form, '--adapter-dtype', adapterDtype(form, c)],
    env: { HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1', PYTHONWARNINGS: 'ignore', ...(form !== 'default' && tcmalloc ? { LD_PRELOAD: tcmalloc } : {}) },
  }
}

function tellStep(side, { step, tokens, seconds, loss }) {
  process.stderr.write(`  ${side} step ${step}: ${Math.round(tokens / seconds)} tokens/s${loss === undefined ? '' : `, loss ${loss.toFixed(4)}`}\n`)
}

/** A line of a side as values; Python writes NaN and Infinity, which JSON lacks. */
function valuesOf(line) {
  const value = JSON.parse(line.replace(/: -?(NaN|Infinity)\b/g, ': null'))
  return value.loss === null ? { ...value, loss: NaN } : value
}

/** Processes that the kernel has killed for want of memory since the machine started. */
function memoryKills() { return Number(/^oom_kill (\d+)/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1] ?? 0) }

/**
 * Runs it to its end; resolves to its steps, peak memory and seconds from the start of the process to the first step's end.
 * @throws TrainingError `bench.side`; `bench.patience` where its first step takes too long, `bench.memory` where the kernel killed it for want of memory
 */
export function runSide(side, c, files, tools) {
  const { command, args, env } = commandOf(side, c, files, tools), started = performance.now(), kills = memoryKills()
  return new Promise((resolve, reject) => {
    const fail = (why, details, code = 'bench.side') => reject(new TrainingError(code, `${side} of ${c.key} ${why}; run it by hand: ${[command, ...args].join(' ')}`, { side, ...details }))
    const child = spawn(command, args, { env: { ...process.env, OMP_NUM_THREADS: String(c.threads), ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    const steps = []
    let last = {}, firstStep = NaN, errors = '', late = false
    const timer = setTimeout(() => { late = true; child.kill('SIGKILL') }, c.patience * 1000)
    child.stderr.on('data', (data) => { errors = (errors + data).slice(-2000) })
    createInterface({ input: child.stdout }).on('line', (line) => {
      // TRL prints its own log between ours.
      if (!line.startsWith('{"')) return
      const value = valuesOf(line)
      if (value.step === undefined) return void (last = { ...last, ...value })
      if (value.step === 1) {
        firstStep = (performance.now() - started) / 1000
        clearTimeout(timer)
      }
      steps.push(value)
      tellStep(side, value)
    })
    child.on('error', (error) => {
      clearTimeout(timer)
      fail(`did not start: ${error.message}`, {})
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (late) fail(`made no step within ${c.patience} s`, {}, 'bench.patience')
      else if (signal === 'SIGKILL' && memoryKills() > kills) fail('took more memory than this machine has', {}, 'bench.memory')
      else if (code !== 0) fail(`ended with ${signal ?? `exit code ${code}`}: ${errors.trim().split('\n').slice(-4).join(' | ')}`, { code, signal })
      else if (steps.length === 0) fail('made no step', {})
      else resolve({ side, steps, firstStep, ...last })
    })
  })
}
