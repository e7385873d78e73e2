import { call, keep, ops, tensor, type DType, type Tensor } from 'fettle-native'
import { inType } from '../device'
import type { HeadBlock } from './types'
import type { Workspace } from './fused-workspace'

/** Memory of the logits that exist at once. */
const panelBytes = 48 << 20

/** Head and loss in panels of rows whose logits share one buffer; it stays from step to step. */
export class FusedHead implements HeadBlock {
  private panel: Tensor | null = null

  constructor(private readonly workspace: Workspace) {}

  /** Of the panel. */
  get bytes(): number { return this.panel === null ? 0 : this.panel.numel * (this.panel.dtype === 'bfloat16' ? 2 : 4) }

  loss(...[hidden, labels, { weight }, { scale, gradient }]: Parameters<HeadBlock['loss']>): ReturnType<HeadBlock['loss']> {
    const [rows, width] = hidden.shape
    const panel = this.panelOf(weight.value.shape[0], hidden.dtype)
    const gradHidden = gradient ? this.workspace.gradient({ layer: -1, id: 'head' }, rows, width, hidden.dtype) : null
    const [loss, correct] = call('fettle::head_loss', '', hidden, weight.value, labels, scale, panel, gradHidden, gradient ? weight.grad : null) as [number, number]
    return { lossSum: tensor([loss], [], 'float32'), correct: tensor([correct], [], 'int64'), gradHidden }
  }

  logits(...[hidden, { weight }]: Parameters<HeadBlock['logits']>): Tensor {
    const out = ops.empty([hidden.shape[0], weight.value.shape[0]], { dtype: hidden.dtype })
    call('fettle::linear_forward', '', hidden, null, weight.value, null, null, null, null, [], [], [], [], out, null)
    return inType(out, 'float32')
  }

  free(): void {
    this.panel?.free()
    this.panel = null
  }

  private panelOf(vocabulary: number, dtype: DType): Tensor {
    const size = dtype === 'bfloat16' ? 2 : 4
    const rows = Math.max(16, Math.floor(panelBytes / (vocabulary * size)))
    if (this.panel === null || this.panel.dtype !== dtype || this.panel.shape[1] !== vocabulary) {
      this.free()
      const memory = call('fettle::pages', '', rows * vocabulary * size) as Tensor, typed = ops.view_dtype(memory, dtype)
      this.panel = keep(ops.view(typed, [rows, vocabulary]))
      memory.free()
      typed.free()
    }
    return this.panel
  }
}
