import { minorFaults, residentBytes, synchronize, tensorBytes, type Device } from 'fettle-native'
import { heldBytes, type Blocks } from '../models/blocks/types'
import type { StepPart, StepWatch } from '../train/step'
import type { WalkPoint } from '../train/walk'
import { KeptRecords } from './kept'
import type { MemoryReading, ProfileSpan, ProfileStep } from './types'

/** What is known of a span when it ends. */
export type SpanFacts = Pick<ProfileSpan, 'kind' | 'name' | 'layer' | 'pass' | 'flops' | 'shape'>

/** Where a span began. */
export interface Mark { readonly time: bigint; readonly faults: number }

/**
 * Notes what runs in the steps that are profiled. On a GPU it waits for the device around every span, so that a block's time is
 * its own: such steps are slower than others.
 */
export class Recorder implements StepWatch {
  readonly spans: ProfileSpan[] = []
  readonly memory: MemoryReading[] = []
  readonly steps: ProfileStep[] = []
  readonly kept = new KeptRecords()
  /** Microseconds since the epoch. */
  epoch = 0
  private zero: bigint | null = null

  constructor(private readonly device: Device, private readonly blocks: Blocks) {}

  /** Runs one step. */
  step(run: () => Pick<ProfileStep, 'step' | 'tokens' | 'supervised'>): void {
    if (this.zero === null) {
      this.zero = process.hrtime.bigint()
      this.epoch = Date.now() * 1000
    }
    this.read('begin', -1)
    const start = this.now(), { step, tokens, supervised } = run()
    synchronize(this.device)
    const ms = this.now() - start
    this.read('end', -1)
    this.steps.push({ step, start, ms, tokens, supervised })
  }

  begin(): Mark {
    synchronize(this.device)
    return { faults: minorFaults(), time: process.hrtime.bigint() }
  }

  end({ time, faults }: Mark, facts: SpanFacts): void {
    synchronize(this.device)
    const end = process.hrtime.bigint()
    this.spans.push({ ...facts, start: this.at(time), ms: Number(end - time) / 1e6, faults: minorFaults() - faults })
  }

  part<T>(name: StepPart, run: () => T): T { return this.span('part', name, run) }

  /** A collective, or the waiting for one. */
  readonly collective = <T>(name: string, run: () => T): T => this.span('communication', name, run)

  point({ phase, layer }: WalkPoint): void { this.read(phase, phase === 'forward' || phase === 'backward' ? layer : -1) }

  private span<T>(kind: 'part' | 'communication', name: string, run: () => T): T {
    const mark = this.begin(), result = run()
    this.end(mark, { kind, name, layer: -1, pass: null, flops: 0, shape: '' })
    return result
  }

  private read(at: MemoryReading['at'], layer: number): void {
    const { device } = this, { now, peak, held } = tensorBytes(device), planned = heldBytes(this.blocks)
    this.memory.push({ time: this.now(), at, layer, resident: device === 'cpu' ? residentBytes().resident : held, tensors: now, tensorsPeak: peak, planned, kept: this.kept.bytes })
  }

  private now(): number { return this.at(process.hrtime.bigint()) }
  private at(time: bigint): number { return Number(time - (this.zero ?? time)) / 1e6 }
}
