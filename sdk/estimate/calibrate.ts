import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { reviveError, WorkerError } from '../errors'
import { forkPlaced } from '../parallel/processes'
import { cacheFolder } from '../models/hub/places'
import type { Calibration, CalibrationJob, FromCalibration } from './calibration'

/** Counts up when the measurements of an earlier Fettle mean something else. */
const formatVersion = 4

/**
 * Steps of few layers, measured in a process of its own that ends with it; kept for this machine, model, method and build of the
 * kernels.
 * @throws WorkerError `worker.calibrate` when the process dies
 */
export async function calibrate(job: CalibrationJob, config: unknown, onProgress: (share: number) => void = () => undefined): Promise<Calibration> {
  const file = path.join(cacheFolder('calibration'), `${keyOf(job, config)}.json`)
  try { return JSON.parse(fs.readFileSync(file, 'utf8')) as Calibration } catch { /* not measured yet, or not readable: it is measured now */ }
  const result = slowest(await Promise.all(Array.from({ length: job.together }, (_, rank) => measure(job, rank, rank === 0 ? onProgress : () => undefined))))
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const attempt = `${file}.${process.pid}`
  fs.writeFileSync(attempt, JSON.stringify(result))
  fs.renameSync(attempt, file)
  return result
}

/** What ranks beside each other found: a step ends with the slowest of them. Memory, and the rows of larger batches, are the first's. */
function slowest([first, ...others]: readonly Calibration[]): Calibration {
  const times = ['embed', 'forward', 'head', 'backward', 'rest'] as const
  const points = first.points.map((point, i) => {
    // What another found for its own rows of that batch, as so many tokens would take it.
    const also = (name: (typeof times)[number]): number[] => others.map(({ points: theirs }) => theirs[i][name] * point.tokens / theirs[i].tokens)
    return { ...point, ...Object.fromEntries(times.map((name) => [name, Math.max(point[name], ...also(name))])) }
  })
  return { ...first, points }
}

/** All that decides what is measured. */
function keyOf({ plan, modelPath, split, small, large, recompute, tp, threads, together, seconds }: CalibrationJob, config: unknown): string {
  const { method, lora, prefix, quantize, precision, fp16, blocks } = plan
  // Asked for when a calibration begins: who only builds plans loads nothing of the addon.
  const { home } = require('fettle-native') as typeof import('fettle-native')
  const kernels = fs.readdirSync(path.join(home(), 'build')).sort().map((name) => {
    const { size, mtimeMs } = fs.statSync(path.join(home(), 'build', name, 'engine.node'), { throwIfNoEntry: false }) ?? { size: 0, mtimeMs: 0 }
    return [name, size, mtimeMs]
  })
  const decides = [formatVersion, os.cpus()[0]?.model, os.availableParallelism(), kernels, config, modelPath, split.hash, method, lora, prefix, quantize, precision, fp16, blocks, small, large, recompute, tp, threads, together, seconds]
  return createHash('sha256').update(JSON.stringify(decides)).digest('hex').slice(0, 32)
}

function measure(job: CalibrationJob, rank: number, onProgress: (share: number) => void): Promise<Calibration> {
  const child = fork(path.join(__dirname, 'calibrate-worker.js'), [], { ...forkPlaced(rank, job.together, job.threads), serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  return new Promise((resolve, reject) => {
    let outcome: { readonly result: Calibration } | { readonly error: unknown } | null = null, text = ''
    child.stderr!.setEncoding('utf8').on('data', (piece: string) => { text = (text + piece).slice(-4000) })
    child.on('message', (message: FromCalibration) => {
      if (message.kind === 'progress') onProgress(message.done / message.total)
      else outcome ??= message.kind === 'done' ? { result: message.result } : { error: reviveError(message.error) }
    })
    child.on('error', (error) => { outcome ??= { error } })
    child.on('close', (code, signal) => {
      if (outcome === null) {
        const how = signal === null ? `exited with code ${code}` : `was killed by ${signal}`
        reject(new WorkerError('worker.calibrate', `the process that measures a few steps ${how}; it needs room for four layers of the model: free some memory, or name a device of the catalogue. It last said: ${text.trim() || 'nothing'}`, { code, signal, stderr: text }))
      } else if ('result' in outcome) resolve(outcome.result)
      else reject(outcome.error)
    })
    child.send(job)
  })
}
