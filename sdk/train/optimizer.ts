import { fusedAdamW, keep, ops, scope, type Tensor } from 'fettle-native'
import type { OptimizerPlan } from '../plan/plan'
import type { FlatParameters } from '../models/flat'

/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101) over the flat buffers of what trains: one fused call for the range
 * that decays and one for the range that does not, whatever the number of parameters. With LoRA+ (arXiv:2402.12354) each
 * is two: matrices B, and DoRA's lengths as in PEFT, learn at a multiple of A's rate.
 */
export class AdamW {
  /** First and second moments, fp32, laid out as the masters. */
  readonly expAvg: Tensor
  readonly expAvgSq: Tensor
  /** Updates done so far, as fp32 scalars: one a possible group, always equal. */
  private readonly counts: readonly Tensor[]

  /** @param ratio rate of what is fast over that of the rest */
  constructor(readonly flat: FlatParameters, private readonly plan: OptimizerPlan, private readonly ratio: number = 1) {
    const device = flat.master.device
    this.expAvg = keep(ops.zeros([flat.size], { dtype: 'float32', device }))
    this.expAvgSq = keep(ops.zeros([flat.size], { dtype: 'float32', device }))
    this.counts = [0, 1, 2, 3].map(() => keep(ops.zeros([], { dtype: 'float32', device })))
  }

  /** Updates done so far: skipped steps do not count, so that bias correction stays right. */
  get updates(): number { return this.counts[0].item() }
  set updates(count: number) { for (const tensor of this.counts) ops.fill_(tensor, count) }

  /** Euclidean norm of the whole gradient. */
  gradNorm(): number { return scope(() => ops.linalg_vector_norm(this.flat.grad).item()) }

  /** Scales the gradient down to `maxNorm`, as `torch.nn.utils.clip_grad_norm_` does; 0 turns clipping off. */
  clip(norm: number, maxNorm: number): void {
    if (maxNorm <= 0) return
    const factor = maxNorm / (norm + 1e-6)
    if (factor < 1) ops.mul_(this.flat.grad, factor)
  }

  /** One update of the masters. The compute copies follow with `Decoder.weightsChanged()`. */
  update(learningRate: number): void {
    scope(() => {
      const { beta1, beta2, epsilon, weightDecay } = this.plan
      const part = (whole: Tensor, start: number, length: number): Tensor => ops.narrow(whole, 0, start, length)
      const groups = this.flat.groups(this.ratio !== 1)
      // All counts advance together, also those of no group.
      this.counts.forEach((count, i) => {
        const group = groups[i]
        if (group === undefined) return ops.add_(count, 1)
        const { start, length, fast, decay } = group
        return fusedAdamW({
          params: [group.master], grads: [group.grad], expAvgs: [part(this.expAvg, start, length)], expAvgSqs: [part(this.expAvgSq, start, length)],
          steps: [count], lr: fast ? learningRate * this.ratio : learningRate, beta1, beta2, eps: epsilon, weightDecay: decay ? weightDecay : 0,
        })
      })
    })
  }

  free(): void { for (const tensor of [this.expAvg, this.expAvgSq, ...this.counts]) tensor.free() }
}
