// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.
import { op } from './op'
import type { Tensor } from '../tensor'
import type { DType, Scalar } from '../types'

export const foreach = {
  _foreach_add_: op<((self: readonly Tensor[], other: readonly Tensor[], options?: { alpha?: Scalar }) => void) & ((self: readonly Tensor[], scalar: Scalar) => void)>('aten::_foreach_add_.List(Tensor(a!)[] self, Tensor[] other, *, Scalar alpha=1) -> ()', 'aten::_foreach_add_.Scalar(Tensor(a!)[] self, Scalar scalar) -> ()'),
  _foreach_mul_: op<((self: readonly Tensor[], other: readonly Tensor[]) => void) & ((self: readonly Tensor[], scalar: Scalar) => void)>('aten::_foreach_mul_.List(Tensor(a!)[] self, Tensor[] other) -> ()', 'aten::_foreach_mul_.Scalar(Tensor(a!)[] self, Scalar scalar) -> ()'),
  _foreach_mul_tensor_: op<(self: readonly Tensor[], other: Tensor) => void>('aten::_foreach_mul_.Tensor(Tensor(a!)[] self, Tensor other) -> ()'),
  _foreach_div_: op<(self: readonly Tensor[], scalar: Scalar) => void>('aten::_foreach_div_.Scalar(Tensor(a!)[] self, Scalar scalar) -> ()'),
  _foreach_copy_: op<(self: readonly Tensor[], src: readonly Tensor[], nonBlocking?: boolean) => void>('aten::_foreach_copy_(Tensor(a!)[] self, Tensor[] src, bool non_blocking=False) -> ()'),
  _foreach_zero_: op<(self: readonly Tensor[]) => void>('aten::_foreach_zero_(Tensor(a!)[] self) -> ()'),
  _foreach_norm: op<(self: readonly Tensor[], ord?: Scalar, dtype?: DType | undefined) => Tensor[]>('aten::_foreach_norm.Scalar(Tensor[] self, Scalar ord=2, ScalarType? dtype=None) -> Tensor[]'),
  _foreach_lerp_: op<(self: readonly Tensor[], tensors1: readonly Tensor[], weight: Scalar) => void>('aten::_foreach_lerp_.Scalar(Tensor(a!)[] self, Tensor[] tensors1, Scalar weight) -> ()'),
  _foreach_addcmul_: op<(self: readonly Tensor[], tensor1: readonly Tensor[], tensor2: readonly Tensor[], value?: Scalar) => void>('aten::_foreach_addcmul_.Scalar(Tensor(a!)[] self, Tensor[] tensor1, Tensor[] tensor2, Scalar value=1) -> ()'),
  _foreach_addcdiv_: op<(self: readonly Tensor[], tensor1: readonly Tensor[], tensor2: readonly Tensor[], value?: Scalar) => void>('aten::_foreach_addcdiv_.Scalar(Tensor(a!)[] self, Tensor[] tensor1, Tensor[] tensor2, Scalar value=1) -> ()'),
  _foreach_sqrt: op<(self: readonly Tensor[]) => Tensor[]>('aten::_foreach_sqrt(Tensor[] self) -> Tensor[]'),
  _fused_adamw_: op<(self: readonly Tensor[], grads: readonly Tensor[], expAvgs: readonly Tensor[], expAvgSqs: readonly Tensor[], maxExpAvgSqs: readonly Tensor[], stateSteps: readonly Tensor[], options: { lr: number; beta1: number; beta2: number; weightDecay: number; eps: number; amsgrad: boolean; maximize: boolean; gradScale?: Tensor | undefined; foundInf?: Tensor | undefined }) => void>('aten::_fused_adamw_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, Tensor(d!)[] exp_avg_sqs, Tensor(e!)[] max_exp_avg_sqs, Tensor[] state_steps, *, float lr, float beta1, float beta2, float weight_decay, float eps, bool amsgrad, bool maximize, Tensor? grad_scale=None, Tensor? found_inf=None) -> ()'),
  _fused_sgd_: op<(self: readonly Tensor[], grads: readonly Tensor[], momentumBufferList: readonly Tensor[], options: { weightDecay: number; momentum: number; lr: number; dampening: number; nesterov: boolean; maximize: boolean; isFirstStep: boolean; gradScale?: Tensor | undefined; foundInf?: Tensor | undefined }) => void>('aten::_fused_sgd_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] momentum_buffer_list, *, float weight_decay, float momentum, float lr, float dampening, bool nesterov, bool maximize, bool is_first_step, Tensor? grad_scale=None, Tensor? found_inf=None) -> ()'),
}
