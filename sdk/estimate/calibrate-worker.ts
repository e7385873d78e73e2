// Entry of the short process that measures steps of few layers for `plan()`.
import { devices, dieWithParent, residentMemory, setThreads, trimAllocator, tuneAllocator } from 'fettle-native'
import { openRows } from '../data/arrow-reader'
import type { Row, RowReader } from '../data/dataset'
import { IGNORED } from '../data/dataset'
import { PlanError, serializeError } from '../errors'
import type { Architecture, NameMap } from '../models/architecture'
import { kernels } from '../models/blocks/fused'
import { familyOf } from '../models/families'
import { openWeights } from '../models/weights'
import { loadTokenizer } from '../tokenizers'
import type { Recompute } from '../train/walk'
import type { Calibration, CalibrationJob, FromCalibration } from './calibration'
import { stateOf } from './state'
import { Trial } from './trial'

/** Layers of the model that is tried: two make the buffers that layers take in turns, two more show what each adds. */
const layers = 4

if (!dieWithParent(process.ppid)) process.exit(1)
process.once('message', (job: CalibrationJob) => {
  const say = (message: FromCalibration, then?: () => void): void => { process.send!(message, undefined, undefined, then) }
  try {
    say({ kind: 'done', result: calibrate(job, (done, total) => say({ kind: 'progress', done, total })) }, () => process.exit(0))
  } catch (error) {
    say({ kind: 'failed', error: serializeError(error) }, () => process.exit(1))
  }
})

function calibrate(job: CalibrationJob, onProgress: (done: number, total: number) => void): Calibration {
  const started = performance.now(), { plan, modelPath, tp } = job
  if (plan.device !== 'cpu' && devices().some(({ kind }) => kind === 'cuda')) throw new PlanError('plan.device', "what is measured on this machine is its CPU, and the plan would take its GPU; name it: plan(builder, { device: 'h100-80gb' }) / --device, or .device('cpu') / --device cpu", { device: plan.device })
  tuneAllocator()
  setThreads(job.threads)
  const { architecture, names } = openModel(modelPath, tp)
  // As in a rank's process: both are there while it trains.
  const tokenizer = loadTokenizer(modelPath), reader = openRows(job.split)
  const small = job.small.map((row) => reader.row(row))
  const warm = new Trial(plan, architecture, names)
  const first = performance.now()
  warm.run(lean(small), false, 0)
  const { form } = warm
  const rate = small.reduce((sum, row) => sum + row.inputIds.length, 0) / (performance.now() - first)
  warm.free()
  trimAllocator()
  const base = residentMemory()
  const large = affordable(job, reader, rate)
  const points: Calibration['points'][number][] = [], total = job.recompute.length * 2 + 2
  const trial = new Trial(plan, architecture, names)
  const measure = (rows: readonly Row[], recompute: Recompute): void => {
    points.push({ ...trial.run(rows, recompute, job.seconds / (4 * job.recompute.length + 4)), trainable: trial.trainable, state: stateOf(plan, architecture, names, trial.trainable).total })
    onProgress(points.length, total)
  }
  for (const recompute of job.recompute) for (const rows of [small, large]) measure(lean(rows), recompute)
  for (const rows of [small, large]) measure(rows, job.recompute[0])
  trial.free()
  return { base, form: form === 'fused' ? `fused (${kernels()})` : form, points, threads: job.threads, seconds: (performance.now() - started) / 1000 * (tokenizer === null ? 0 : 1) }
}

/** The model's record, with the heads and widths of one of so many tensor ranks. */
function openModel(modelPath: string, tp: number): { readonly architecture: Architecture; readonly names: NameMap } {
  const weights = openWeights(modelPath)
  try {
    const family = familyOf(weights.config), a = family.architecture(weights.config)
    const window = a.window && { ...a.window, layers: Array.from({ length: layers }, (_, i) => a.window!.layers[i % a.layers]) }
    const local = { ...a, window, layers, heads: a.heads / tp, kvHeads: Math.max(1, a.kvHeads / tp), intermediateSize: a.intermediateSize / tp }
    return { architecture: local, names: family.names(local) }
  } finally {
    weights.close()
  }
}

/** Of the larger batch as many rows as the time allows; what is left is extrapolated. @param rate tokens a ms of the smallest trial */
function affordable({ large, small, recompute, seconds }: CalibrationJob, reader: RowReader, rate: number): Row[] {
  const smallTokens = small.reduce((sum, row) => sum + reader.length(row), 0)
  // Each form takes two steps, and so does the head; small batches take some more.
  const most = Math.max(2 * smallTokens, seconds * 1000 * rate / (2 * recompute.length + 3))
  const rows: number[] = []
  let tokens = 0
  for (const row of large) {
    if (rows.length > 0 && tokens + reader.length(row) > most) break
    rows.push(row)
    tokens += reader.length(row)
  }
  return rows.map((row) => reader.row(row))
}

/** The same rows with one label each: what layers take, without the head. */
function lean(rows: readonly Row[]): Row[] {
  return rows.map(({ inputIds, labels }) => {
    const last = labels.lastIndexOf(labels.filter((label, t) => t > 0 && label !== IGNORED).at(-1) ?? NaN)
    return { inputIds, labels: labels.map((label, t) => (t === last ? label : IGNORED)) }
  })
}
