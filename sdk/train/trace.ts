import { fusedAdamW, noGrad, ops, scope, type Device, type Tensor } from 'fettle-native'
import { loadAdapter } from '../adapters/adapter'
import { PrefixAdapter } from '../adapters/prefix'
import { refuseMerge } from '../adapters/kind'
import { PlanError } from '../errors'
import { plainBlocks } from '../models/blocks/plain'
import type { Blocks } from '../models/blocks/types'
import { Decoder } from '../models/decoder'
import { loadParameters, thaw } from '../models/load'
import type { Parameters } from '../models/parameters'
import { openWeights } from '../models/weights'
import type { Weights } from '../models/weights'
import { unknownName } from '../plan/refuse'
import { traceBatch, type TraceBatch } from './trace-inputs'
import { walk } from './walk'

/** What `fettle trace` is asked. */
export interface TraceOptions {
  /** Folder or file of the model, already on this machine. */
  readonly model: string
  /** Tensors by the names of `fettle trace`'s input file. */
  readonly inputs: ReadonlyMap<string, Tensor>
  /** Folder of an adapter; then it alone trains. */
  readonly adapter?: string
  /** Merge the adapter into the weights first. */
  readonly merge?: boolean
  readonly dtype?: 'fp32' | 'bf16'
  readonly device?: Device
  /** Gradients to give. */
  readonly grads?: 'all' | readonly string[]
  /** AdamW steps on the batch (betas 0.9 and 0.999, eps 1e-8, decay on all that trains). */
  readonly steps?: number
  readonly learningRate?: number
  readonly weightDecay?: number
  /** Which form of the blocks runs. Default: plain. */
  readonly blocks?: (parameters: Parameters) => Blocks
}

/**
 * Runs a batch through a model so that any reference can be compared: `logits` [B, T, V] in fp32; with labels `loss` [1]
 * (mean over supervised tokens) and `grad.NAME`; with steps `losses` [N] (before each step) and `after.NAME` of all that
 * trains. Names are those of the model's checkpoint, or of adapter_model.safetensors when an adapter trains.
 *
 * The tensors belong to the caller's scope.
 * With labels that supervise nothing there is no loss.
 * @throws ModelError `trace.input`, PlanError `trace.option` and, for a name in `grads`, `plan.unknown`, and what loading throws
 */
export function trace(options: TraceOptions): Map<string, Tensor> {
  const weights = openWeights(options.model)
  try {
    return noGrad(() => scope(() => {
      const parameters = prepare(weights, options)
      const decoder = new Decoder(parameters, (options.blocks ?? plainBlocks)(parameters))
      try {
        return run(decoder, options, traceBatch(options.inputs, parameters.architecture, parameters.device))
      } finally {
        decoder.free()
        parameters.free()
      }
    }))
  } finally {
    weights.close()
  }
}

function prepare(weights: Weights, options: TraceOptions): Parameters {
  const { adapter, merge = false, dtype = 'fp32', device = 'cpu', grads, steps = 0 } = options
  if (merge && adapter === undefined) refuse('merge', 'an adapter to merge', 'none')
  if (!Number.isInteger(steps) || steps < 0) refuse('steps', 'a whole number from 0 up', String(steps))
  const training = grads !== undefined || steps > 0
  if (training && !options.inputs.has('labels')) refuse('grads and steps', 'labels in the inputs', 'none')
  const parameters = loadParameters(weights, { dtype: dtype === 'bf16' ? 'bfloat16' : 'float32', device, train: training && adapter === undefined })
  if (adapter === undefined) return parameters
  const attached = loadAdapter(parameters, adapter)
  if (!merge) return parameters
  if (attached instanceof PrefixAdapter) throw refuseMerge(adapter)
  attached.fuse()
  return training ? thaw(parameters) : parameters
}

function run(decoder: Decoder, options: TraceOptions, traced: TraceBatch): Map<string, Tensor> {
  const { rows, length, batch } = traced
  const { parameters } = decoder
  const results = new Map<string, Tensor>()
  const context = decoder.context(batch, { mode: 'infer' })
  const hidden = decoder.hidden(batch, context)
  results.set('logits', ops.view(decoder.headLogits(hidden, context), [rows, length, parameters.architecture.vocabSize]))
  if (batch.targets === undefined) {
    // No mean over no tokens: what was asked of the loss has no answer, what was not is left out.
    if (options.grads !== undefined || options.steps) refuse('grads and steps', 'at least one label other than −100 after the first position', 'none')
    return results
  }
  if (options.grads === undefined && !options.steps) {
    const { lossSum } = decoder.headLoss(hidden, batch.targets, { scale: 0, gradient: false, context })
    results.set('loss', ops.div(ops.view(lossSum, [1]), batch.targets.count))
    return results
  }
  const wanted = chosen(parameters, options.grads ?? [])
  const losses = [backwardOnce(decoder, traced)]
  results.set('loss', losses[0])
  for (const { name, grad } of wanted) results.set(`grad.${name}`, ops.clone(grad))
  if (options.steps) train(decoder, traced, options, losses, results)
  return results
}

/** Gradients afresh, and the loss as [1]. */
function backwardOnce(decoder: Decoder, { batch }: TraceBatch): Tensor {
  const count = batch.targets!.count
  decoder.parameters.zeroGrad()
  return scope(() => ops.div(ops.view(walk(decoder, batch, { scale: 1 / count }).lossSum, [1]), count))
}

function train(decoder: Decoder, traced: TraceBatch, options: TraceOptions, losses: Tensor[], results: Map<string, Tensor>): void {
  const { master, grad } = decoder.parameters.flat!
  const expAvg = ops.zeros_like(master), expAvgSq = ops.zeros_like(master), step = ops.zeros([], { dtype: 'float32', device: master.device })
  for (let n = 1; n <= options.steps!; n++) {
    fusedAdamW({
      params: [master], grads: [grad], expAvgs: [expAvg], expAvgSqs: [expAvgSq], steps: [step],
      lr: options.learningRate ?? 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: options.weightDecay ?? 0,
    })
    decoder.weightsChanged()
    if (n < options.steps!) losses.push(backwardOnce(decoder, traced))
  }
  results.set('losses', ops.cat(losses))
  for (const { name, master: value } of trained(decoder.parameters)) results.set(`after.${name}`, ops.clone(value))
}

interface Trained { readonly name: string; readonly master: Tensor; readonly grad: Tensor; readonly liveName: string | undefined }

/** What trains, under the names of its file. */
function trained(parameters: Parameters): Trained[] {
  return parameters.trainable().map((p) => ({ name: parameters.fileName(p.name), master: p.master as Tensor, grad: p.grad as Tensor, liveName: p.liveName }))
}

function chosen(parameters: Parameters, grads: 'all' | readonly string[]): Trained[] {
  const all = trained(parameters)
  if (grads === 'all') return all
  return grads.map((name) => {
    // A tied head has no weight of its own; its gradient is part of the embedding's.
    const tied = parameters.adapter === null && parameters.architecture.tiedHead && name === `${parameters.names.head}.weight`
    const found = all.find((p) => p.liveName === name || p.name === (tied ? parameters.fileName(`${parameters.names.embedding}.weight`) : name))
    if (found === undefined) throw unknownName('name of what trains for grads', name, all.map((p) => p.name))
    return { ...found, name }
  })
}

/** What the caller asked for excludes itself or the inputs. */
function refuse(field: string, expected: string, got: string): never {
  throw new PlanError('trace.option', `expected ${expected} for ${field}, got ${got}`, { field, expected, got })
}
