import { keep, manualSeed, memory, noGrad, ops, scope, trimAllocator, type Device, type Tensor } from 'fettle-native'
import * as fs from 'node:fs'
import type { Row } from '../data/dataset'
import type { Architecture, NameMap } from '../models/architecture'
import { packBatch, type Batch } from '../models/batch'
import { chooseBlocks } from '../models/blocks/fused'
import { heldBytes, type Weight } from '../models/blocks/types'
import { Decoder } from '../models/decoder'
import { FlatParameters } from '../models/flat'
import { storedWeights } from '../models/layout'
import { Parameters } from '../models/parameters'
import { QuantizedWeights } from '../models/quantized/weights'
import type { Plan } from '../plan/plan'
import { AdamW } from '../train/optimizer'
import { trainStep } from '../train/step'
import type { Recompute, WalkPoint } from '../train/walk'
import { openAdapter } from '../worker/adapters'
import { computeType, quantizationOf } from '../worker/session'
import type { TrialPoint } from './calibration'

/** A model of the same layers, but few of them, with random weights: what a step of it takes is measured, not computed. */
export class Trial {
  private readonly decoder: Decoder
  private readonly optimizer: AdamW

  constructor(private readonly plan: Plan, private readonly architecture: Architecture, names: NameMap) {
    const parameters = noGrad(() => randomParameters(plan, architecture, names))
    openAdapter({ ...plan, lora: plan.lora && { ...plan.lora, from: null, pissa: false }, prefix: plan.prefix && { ...plan.prefix, from: null } }, parameters)
    const blocks = chooseBlocks({ device: 'cpu', dtype: parameters.dtype, blocks: plan.blocks, autocast: plan.precision === 'fp16' && plan.fp16.level === 'O1' })
    this.decoder = new Decoder(parameters, blocks)
    this.optimizer = new AdamW(parameters.flat!, plan.optimizer, plan.lora?.plusRatio)
    ops.zero_(parameters.flat!.grad)
    this.decoder.weightsChanged()
  }

  get form(): string { return this.decoder.blocks.form }
  /** Values that train. */
  get trainable(): number { return this.optimizer.flat.size }

  /**
   * A few steps over the rows: the first shows what they take in memory, the others, which find that memory again, how long they last.
   * @param most s that the others may take; there is one at least
   */
  run(rows: readonly Row[], recompute: Recompute, most: number): TrialPoint {
    const { blocks } = this.decoder, batch = packBatch(rows, 'cpu', this.architecture.prompt)
    blocks.free()
    trimAllocator()
    resetPeak()
    blocks.reserve(batch.tokens)
    const gauge = new Gauge(() => memory().heapUsed + heldBytes(blocks))
    const timed = (also?: Gauge): { readonly clock: Clock; readonly whole: number } => {
      const clock = new Clock(), started = performance.now()
      this.step(batch, recompute, (point) => { clock.at(point); also?.at(point) })
      return { clock, whole: (performance.now() - started) / 1000 }
    }
    let best = timed(gauge)
    // The first finds no memory yet, which takes its time; then the shortest of a few: other programs only make it longer.
    for (let spent = 0, again = 0; again < 3 && spent < most; again++) {
      const next = timed()
      spent += next.whole
      if (again === 0 || next.whole < best.whole) best = next
    }
    const { clock, whole } = best
    return { layers: this.architecture.layers, tokens: batch.tokens, longest: Math.max(...batch.lengths), sequences: rows.length, supervised: batch.targets?.count ?? 0, recompute, peak: peak(), ...gauge.layer(), ...clock.seconds(whole) }
  }

  free(): void {
    this.decoder.blocks.free()
    this.optimizer.free()
    this.decoder.parameters.free()
    trimAllocator()
  }

  private step(batch: Batch, recompute: Recompute, onPoint?: (point: WalkPoint) => void): void {
    const { plan: { lora, optimizer, precision } } = this
    scope(() => trainStep(this.decoder, this.optimizer, [batch], {
      learningRate: 1e-9, maxGradNorm: optimizer.maxGradNorm, dropout: (lora?.dropout ?? 0) > 0, recompute, ...(precision === 'fp16' ? { lossScale: 1 } : {}), onPoint,
    }))
  }
}

/** What a layer adds to memory, told by the walk's points: exact where resident memory is not. */
class Gauge {
  private readonly forward: number[] = []
  private readonly backward: number[] = []

  constructor(private readonly held: () => number) {}

  at({ phase }: WalkPoint): void {
    if (phase === 'forward') this.forward.push(this.held())
    if (phase === 'backward') this.backward.push(this.held())
  }

  /** The first two layers of each way also make the buffers that layers share. */
  layer(): Pick<TrialPoint, 'kept' | 'packed'> {
    const grown = (all: readonly number[]): number => (all[all.length - 1] - all[1]) / (all.length - 2)
    return { kept: Math.max(0, grown(this.forward)), packed: Math.max(0, grown(this.backward)) }
  }
}

/** Where the time of a walk goes, by its points. */
class Clock {
  private last = performance.now()
  private readonly first = this.last
  private readonly spent = { embed: 0, forward: 0, head: 0, backward: 0 }
  private end = this.last

  at({ phase }: WalkPoint): void {
    const now = performance.now()
    this.spent[phase] += (now - this.last) / 1000
    this.last = this.end = now
  }

  /** `rest`: what a step spends outside its passes, on gradients and weights. */
  seconds(whole: number): Pick<TrialPoint, 'embed' | 'forward' | 'head' | 'backward' | 'rest'> {
    return { ...this.spent, rest: Math.max(0, whole - (this.end - this.first) / 1000) }
  }
}

function randomParameters(plan: Plan, architecture: Architecture, names: NameMap): Parameters {
  manualSeed(plan.seed)
  const dtype = computeType(plan), device: Device = 'cpu', stored = storedWeights(architecture, names), quantize = quantizationOf(plan)
  const few = quantize === null ? null : new QuantizedWeights(stored, architecture.layers, dtype, device, quantize)
  const flat = plan.method === 'sft' ? new FlatParameters(stored, dtype, device) : null, held = few ?? flat
  const random = (into: Tensor): void => void scope(() => ops.mul_(ops.uniform_(into, -1, 1), 0.04))
  const entries = stored.map((spec, i): [string, Weight] => {
    held?.fill(i, random)
    if (held !== null) return [spec.key, held.weights[i]]
    const value = keep(ops.empty(spec.shape, { dtype, device }))
    random(value)
    return [spec.key, { value, master: null, grad: null }]
  })
  few?.sync()
  flat?.sync()
  const parameters = new Parameters(architecture, names, new Map(entries), flat, dtype, device)
  if (few !== null) {
    parameters.hooks = few
    parameters.held = few
  }
  return parameters
}

/** The highest resident memory is counted from now on (proc(5), clear_refs). */
function resetPeak(): void { fs.writeFileSync('/proc/self/clear_refs', '5') }

/** Highest resident memory since, in bytes. */
function peak(): number { return Number(/^VmHWM:\s+(\d+) kB/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))![1]) * 1024 }
