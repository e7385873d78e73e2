import { TrainingError } from '../errors'

/** Where a loss scale stands; kept in checkpoints. */
export interface LossScaleState { readonly scale: number; readonly good: number }

/** Good steps after which the scale grows, as in PyTorch's and Paddle's GradScaler. */
const growAfter = 2000

/** Below this a gradient of halves holds no more than one of an unscaled loss. */
const smallest = 1

/**
 * The factor on the loss that keeps small gradients of fp16 above its least number (Micikevicius et al., arXiv:1710.03740):
 * it halves when a gradient overflows, whose step is left out, and doubles after 2000 good steps in a row.
 */
export class LossScale {
  private good = 0

  constructor(private scale: number, private readonly every: number = growAfter) {}

  get value(): number { return this.scale }
  get state(): LossScaleState { return { scale: this.scale, good: this.good } }
  set state({ scale, good }: LossScaleState) {
    this.scale = scale
    this.good = good
  }

  /** A step was made with finite gradients. */
  succeeded(): void {
    if (++this.good < this.every) return
    this.scale *= 2
    this.good = 0
  }

  /**
   * A gradient overflowed in step `step`.
   * @throws TrainingError `train.loss-scale` when no smaller scale can help
   */
  overflowed(step: number): void {
    if (this.scale <= smallest) {
      throw new TrainingError('train.loss-scale',
        `fp16 found no loss scale: gradients overflow at step ${step} even with a scale of ${this.scale}, so that no weight would change any more; use bf16 (.bf16() / "bf16": true), fp32, or a lower learning rate`,
        { step, scale: this.scale })
    }
    this.scale = Math.max(this.scale / 2, Math.min(smallest, this.scale))
    this.good = 0
  }
}
