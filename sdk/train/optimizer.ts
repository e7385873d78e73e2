import { fusedAdamW, keep, ops, scope, type FusedAdamW, type Tensor } from 'fettle-native'
import type { OptimizerPlan } from '../plan/plan'
import type { TrainedValues } from '../models/flat'

/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101) over the flat buffers of what trains: one fused call for each range
 * that decays and each that does not, whatever the number of parameters. With LoRA+ (arXiv:2402.12354) each
 * is two: matrices B, and DoRA's lengths as in PEFT, learn at a multiple of A's rate.
 */
export class AdamW {
  /** First and second moments, fp32, laid out as the masters. */
  readonly expAvg: Tensor
  readonly expAvgSq: Tensor
  /** Updates done so far: skipped steps do not count, so that bias correction stays right. */
  private done = 0
  /** The same as an fp32 scalar, which each fused call advances. */
  private readonly count: Tensor

  /** @param ratio rate of what is fast over that of the rest */
  constructor(readonly flat: TrainedValues, private readonly plan: OptimizerPlan, private readonly ratio: number = 1) {
    const { device } = flat.master
    this.expAvg = keep(ops.zeros([flat.size], { dtype: 'float32', device }))
    this.expAvgSq = keep(ops.zeros([flat.size], { dtype: 'float32', device }))
    this.count = keep(ops.zeros([], { dtype: 'float32', device }))
  }

  get updates(): number { return this.done }
  set updates(count: number) { this.done = count }

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
    this.apply(learningRate, {})
    this.done++
  }

  /**
   * The same, clipped, decided on the device without waiting for it: nothing is updated where `finite` is 0. The caller counts
   * the update (`updates`) once it knows.
   * @param norm of the gradient, fp32 scalar
   * @param finite fp32 scalar, 1 or 0
   */
  updateUnseen(learningRate: number, norm: Tensor, maxNorm: number, finite: Tensor): void {
    scope(() => {
      const gradScale = maxNorm > 0 ? ops.clamp_min(ops.div(ops.add(norm, 1e-6), maxNorm), 1) : undefined
      this.apply(learningRate, { ...(gradScale === undefined ? {} : { gradScale }), foundInf: ops.sub(ops.ones_like(finite), finite) })
    })
  }

  private apply(learningRate: number, given: Pick<FusedAdamW, 'gradScale' | 'foundInf'>): void {
    scope(() => {
      const { beta1, beta2, epsilon, weightDecay } = this.plan
      const part = (whole: Tensor, start: number, length: number): Tensor => ops.narrow(whole, 0, start, length)
      for (const { start, length, fast, decay, master, grad } of this.flat.groups(this.ratio !== 1)) {
        ops.fill_(this.count, this.done)
        fusedAdamW({
          params: [master], grads: [grad], expAvgs: [part(this.expAvg, start, length)], expAvgSqs: [part(this.expAvgSq, start, length)],
          steps: [this.count], lr: fast ? learningRate * this.ratio : learningRate, beta1, beta2, eps: epsilon, weightDecay: decay ? weightDecay : 0, ...given,
        })
      }
    })
  }

  free(): void { for (const tensor of [this.expAvg, this.expAvgSq, this.count]) tensor.free() }
}
