import { ops, scope, type Tensor } from 'fettle-native'
import type { Batch } from '../models/batch'
import type { Decoder } from '../models/decoder'
import type { WalkGraphs } from './graphs'
import type { AdamW } from './optimizer'
import { walk, type Recompute, type WalkOptions, type WalkPoint } from './walk'

/** What a step needs to know beside its window. */
export interface StepOptions {
  readonly learningRate: number
  readonly maxGradNorm: number
  readonly dropout: boolean
  readonly recompute: Recompute
  /** Factor on the loss and its gradient while they are halves; the gradient that is used and told has none. Default 1. */
  readonly lossScale?: number
  readonly onPoint?: WalkOptions['onPoint']
  /** Called when the GPU has all of the step's work before it and this thread has nothing left but to wait; not where something waits earlier. */
  readonly meanwhile?: () => void
  /** Each part of the step goes through it. */
  readonly watch?: StepWatch
  /** Supervised tokens of the whole window, on all ranks. Default: of the batches given. */
  readonly supervised?: number
  /** Tokens of the whole window, on all ranks. */
  readonly tokens?: number
  /** Records and replays micro-batches on a GPU. Only for a rank that is alone, without a loss scale. */
  readonly graphs?: WalkGraphs
  /** Where several ranks train together. */
  readonly parallel?: ParallelStep
}

/** Parts of a step, in order; what stands between them takes no time to speak of. */
export type StepPart = 'batches' | 'zeroGrad' | 'walk' | 'reduce' | 'gradNorm' | 'clip' | 'update' | 'weightsChanged'

/** Looks on while a step runs. */
export interface StepWatch {
  /** Runs a part. */
  part<T>(name: StepPart, run: () => T): T
  /** At every boundary of a walk. */
  point(point: WalkPoint): void
}

/** How ranks take a step together. */
export interface ParallelStep {
  /** Forward and backward of this rank's micro-batches; sums of the loss and of hits where this rank counts them, else 0. */
  walk(decoder: Decoder, batches: readonly Batch[], options: WalkOptions): { readonly lossSum: number; readonly correct: number }
  /** Gradients of all ranks are summed. */
  reduce(): void
  /** This rank's part of the squared norm of the gradient. */
  squares(): number
  /** Sums over all ranks of what each gives, in order. */
  sum(parts: readonly number[]): number[]
}

/** What one optimizer step did. */
export interface StepResult {
  /** Mean of −log p(label) over the window's supervised tokens; NaN when it has none. */
  readonly loss: number
  /** Before clipping. */
  readonly gradNorm: number
  readonly tokens: number
  readonly supervised: number
  /** Share of supervised positions whose argmax is the label. */
  readonly accuracy: number
  /** `updated`; or why the weights stayed as they were: no label in the window, a loss or gradient that is not finite, or with a loss scale a gradient that grew beyond what a half holds. */
  readonly outcome: 'updated' | 'no-labels' | 'not-finite' | 'overflow'
}

/**
 * One optimizer step over a window of micro-batches. The loss is the mean over the supervised tokens of the whole
 * window, so neither it nor the gradient depends on how the window is cut: every micro-batch's gradient carries the
 * factor 1 / supervised tokens of the window, which is known before the first forward.
 */
export function trainStep(decoder: Decoder, optimizer: AdamW, window: readonly Batch[], options: StepOptions): StepResult {
  const { lossScale = 1, parallel, watch = unwatched } = options, tokens = options.tokens ?? window.reduce((sum, batch) => sum + batch.tokens, 0)
  const supervised = options.supervised ?? window.reduce((sum, batch) => sum + (batch.targets?.count ?? 0), 0)
  if (supervised === 0) return { loss: NaN, gradNorm: 0, tokens, supervised, accuracy: NaN, outcome: 'no-labels' }
  return scope(() => {
    watch.part('zeroGrad', () => decoder.parameters.zeroGrad())
    const how: WalkOptions = { scale: lossScale / supervised, recompute: options.recompute, dropout: options.dropout, training: true, onPoint: options.watch === undefined ? options.onPoint : (point) => watch.point(point) }
    // A micro-batch without labels has no gradient, and no mean to divide by zero for.
    const batches = window.filter((batch) => (batch.targets?.count ?? 0) > 0)
    if (parallel === undefined && decoder.parameters.device !== 'cpu') return { ...stepOnDevice(decoder, optimizer, batches, how, supervised, options), tokens, supervised }
    const own = watch.part('walk', () => (parallel ?? { walk: walkAll }).walk(decoder, batches, how))
    if (parallel !== undefined) watch.part('reduce', () => parallel.reduce())
    if (lossScale !== 1) ops.mul_(decoder.parameters.flat!.grad, 1 / lossScale)
    const { lossSum, correct, gradNorm } = watch.part('gradNorm', () => totalsOf(own, optimizer, parallel))
    const result = { loss: lossSum / supervised, gradNorm, tokens, supervised, accuracy: correct / supervised }
    const outcome = outcomeOf(result, options)
    if (outcome !== 'updated') return { ...result, outcome }
    watch.part('clip', () => optimizer.clip(gradNorm, options.maxGradNorm))
    watch.part('update', () => optimizer.update(options.learningRate))
    watch.part('weightsChanged', () => decoder.weightsChanged())
    return { ...result, outcome: 'updated' }
  })
}

const unwatched: StepWatch = { part: (_name, run) => run(), point: () => undefined }

/** Sums over all ranks, and the norm of the whole gradient. */
function totalsOf(own: { readonly lossSum: number; readonly correct: number }, optimizer: AdamW, parallel: ParallelStep | undefined): { readonly lossSum: number; readonly correct: number; readonly gradNorm: number } {
  if (parallel === undefined) return { ...own, gradNorm: optimizer.gradNorm() }
  const [lossSum, correct, squares] = parallel.sum([own.lossSum, own.correct, parallel.squares()])
  return { lossSum, correct, gradNorm: Math.sqrt(squares) }
}

/** Micro-batches one after the other. */
export function walkAll(decoder: Decoder, batches: readonly Batch[], options: WalkOptions): { readonly lossSum: number; readonly correct: number } {
  const [lossSum, correct] = scope(() => sumsOf(decoder, batches, options).toArray() as number[])
  return { lossSum, correct }
}

/** The same, without waiting for the device: fp64 `[2]`, sums of the loss and of hits. Doubles add up as JavaScript's own numbers would. */
export function sumsOf(decoder: Decoder, batches: readonly Batch[], options: WalkOptions, graphs: WalkGraphs | null = null): Tensor {
  return scope(() => {
    const sums = ops.zeros([2], { dtype: 'float64', device: decoder.parameters.device })
    for (const batch of batches) scope(() => {
      const { lossSum, correct } = graphs?.walk(batch, options) ?? walk(decoder, batch, options)
      ops.add_(sums, ops.stack([ops.to_dtype(lossSum, 'float64'), ops.to_dtype(correct, 'float64')]))
    })
    return sums
  })
}

/**
 * The step of a rank that is alone with its GPU: the CPU runs ahead and waits once, at the end, for what the step found.
 * Clipping, and whether the update is made at all, are decided on the device.
 */
export function stepOnDevice(decoder: Decoder, optimizer: AdamW, batches: readonly Batch[], how: WalkOptions, supervised: number, options: StepOptions): Pick<StepResult, 'loss' | 'gradNorm' | 'accuracy' | 'outcome'> {
  const { lossScale = 1, graphs = null } = options, { grad } = decoder.parameters.flat!
  return scope(() => {
    // A recorded gradient has the factor that it was recorded with: 1.
    const sums = graphs === null ? sumsOf(decoder, batches, how) : sumsOf(decoder, batches, { ...how, scale: 1 }, graphs)
    const factor = graphs === null ? 1 / lossScale : how.scale
    if (factor !== 1) ops.mul_(grad, factor)
    const norm = ops.linalg_vector_norm(grad), loss = ops.select(sums, 0, 0)
    optimizer.updateUnseen(options.learningRate, norm, options.maxGradNorm, ops.to_dtype(ops.logical_and(ops.isfinite(norm), ops.isfinite(loss)), 'float32'))
    decoder.weightsChanged()
    options.meanwhile?.()
    const [lossSum, correct, gradNorm] = ops.cat([sums, ops.view(ops.to_dtype(norm, 'float64'), [1])]).toArray() as number[]
    const result = { loss: lossSum / supervised, gradNorm, accuracy: correct / supervised }, outcome = outcomeOf(result, options)
    if (outcome === 'updated') optimizer.updates++
    return { ...result, outcome }
  })
}

/** Whether a step's update is made. One from what is not finite would spread to every weight; the caller says so and decides whether to go on. */
function outcomeOf({ loss, gradNorm }: Pick<StepResult, 'loss' | 'gradNorm'>, { lossScale }: StepOptions): StepResult['outcome'] {
  if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return 'updated'
  return lossScale !== undefined && Number.isFinite(loss) ? 'overflow' : 'not-finite'
}
