// One run of one side: a whole process, its JSON lines read as they come.
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'
import { tcmalloc } from './peer.mjs'

const here = dirname(fileURLToPath(import.meta.url))

/** How each side is started; `%` stands for model, adapter and rows. */
export function commandOf(side, python, { dtype, adapterDtype }) {
  const preload = tcmalloc()
  if (side === 'fettle') return { command: process.execPath, args: [join(here, 'fettle.mjs')], env: {} }
  if (side === 'fettle-plain') return { command: process.execPath, args: [join(here, 'fettle.mjs')], env: {}, extra: ['--blocks', 'plain'] }
  const adapter = side === 'best' && dtype === 'bf16' ? adapterDtype : dtype === 'bf16' ? 'fp32' : 'model'
  return {
    command: python, args: ['-u', join(here, side === 'best' ? 'peer_best.py' : 'peer_plain.py')], extra: ['--adapter-dtype', adapter],
    env: side === 'best' && preload ? { LD_PRELOAD: preload } : {},
  }
}

/** Runs it to its end; resolves to its steps, peak memory and seconds from the start of the process to the first step's end. */
export function runSide(side, python, files, options) {
  const { command, args, env, extra = [] } = commandOf(side, python, options)
  const flags = ['--steps', options.steps, '--seconds', options.seconds, '--skip', options.skip, '--dtype', options.dtype, '--threads', options.threads].map(String)
  const started = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args, files.model, files.adapter, files.rows[options.law], ...flags, ...extra], {
      env: { ...process.env, OMP_NUM_THREADS: String(options.threads), HF_HUB_OFFLINE: '1', ...env }, stdio: ['ignore', 'pipe', 'pipe'],
    })
    const steps = []
    let last = {}, firstStep = NaN, errors = ''
    child.stderr.on('data', (data) => { errors = (errors + data).slice(-4000) })
    createInterface({ input: child.stdout }).on('line', (line) => {
      const value = JSON.parse(line)
      if (value.step === undefined) return void (last = value)
      if (value.step === 1) firstStep = (performance.now() - started) / 1000
      steps.push(value)
      process.stderr.write(`  ${side} step ${value.step}: ${Math.round(value.tokens / value.seconds)} tokens/s, loss ${value.loss.toFixed(4)}\n`)
    })
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve({ side, steps, firstStep, ...last }) : reject(new Error(`${side} ended with exit code ${code}\n${errors}`))))
  })
}
