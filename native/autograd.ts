import { native } from './library'
import { Tensor } from './tensor'

function withGradMode<T>(on: boolean, body: () => T): T {
  const engine = native()
  const before = engine.gradMode(on)
  try {
    return body()
  } finally {
    engine.gradMode(before)
  }
}

/** Runs `body` without recording a graph. */
export function noGrad<T>(body: () => T): T {
  return withGradMode(false, body)
}

/** Runs `body` with recording on, inside `noGrad` too. */
export function enableGrad<T>(body: () => T): T {
  return withGradMode(true, body)
}

function handles(tensors: readonly Tensor[]): number[] {
  return tensors.map((tensor) => tensor.handle)
}

function optionalHandles(tensors: readonly (Tensor | undefined)[] | undefined): number[] | undefined {
  return tensors?.map((tensor) => tensor?.handle ?? 0)
}

/**
 * Adds d(tensors)/d(leaf) to `.grad` of every leaf. `gradients` are the incoming gradients, one per tensor; a scalar needs
 * none. The graph is freed unless `retainGraph`.
 */
export function backward(
  tensors: Tensor | readonly Tensor[],
  gradients?: Tensor | readonly (Tensor | undefined)[],
  options: { retainGraph?: boolean } = {},
): void {
  const roots = tensors instanceof Tensor ? [tensors] : tensors
  const given = gradients instanceof Tensor ? [gradients] : gradients
  native().backward(handles(roots), optionalHandles(given), options.retainGraph ?? false)
}

/** Gradients of `outputs` with respect to `inputs`, without touching `.grad`; undefined for an unused input. */
export function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  incoming?: readonly (Tensor | undefined)[],
  options: { retainGraph?: boolean; allowUnused?: boolean } = {},
): (Tensor | undefined)[] {
  const { retainGraph = false, allowUnused = false } = options
  const found = native().gradOf(handles(outputs), handles(inputs), optionalHandles(incoming), retainGraph, allowUnused)
  return found.map((handle) => (handle === 0 ? undefined : new Tensor(handle)))
}

/** Arguments of {@link fusedAdamW}; the lists are parallel. */
export interface FusedAdamW {
  params: readonly Tensor[]
  grads: readonly Tensor[]
  expAvgs: readonly Tensor[]
  expAvgSqs: readonly Tensor[]
  /** One float32 scalar per parameter; counted up by the call. */
  steps: readonly Tensor[]
  lr: number
  beta1: number
  beta2: number
  weightDecay: number
  eps: number
  /** fp32 scalar on the parameters' device: gradients are divided by it, in place. Left out: 1. */
  gradScale?: Tensor
  /** fp32 scalar on the parameters' device: where it is 1, nothing is updated. Left out: all is. */
  foundInf?: Tensor
}

/** One AdamW step in place on CPU or CUDA (Loshchilov and Hutter, arXiv:1711.05101). */
export function fusedAdamW(o: FusedAdamW): void {
  native().fusedAdamW(
    handles(o.params), handles(o.grads), handles(o.expAvgs), handles(o.expAvgSqs), handles(o.steps),
    o.lr, o.beta1, o.beta2, o.weightDecay, o.eps, o.gradScale?.handle ?? 0, o.foundInf?.handle ?? 0,
  )
}
