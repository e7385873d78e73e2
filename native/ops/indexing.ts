// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.
import { op } from './op'
import type { Tensor } from '../tensor'
import type { Scalar } from '../types'

export const indexing = {
  index: op<(self: Tensor, indices: readonly (Tensor | undefined)[]) => Tensor>('aten::index.Tensor(Tensor self, Tensor?[] indices) -> Tensor'),
  index_put: op<(self: Tensor, indices: readonly (Tensor | undefined)[], values: Tensor, accumulate?: boolean) => Tensor>('aten::index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor'),
  index_put_: op<(self: Tensor, indices: readonly (Tensor | undefined)[], values: Tensor, accumulate?: boolean) => Tensor>('aten::index_put_(Tensor(a!) self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor(a!)'),
  index_select: op<(self: Tensor, dim: number, index: Tensor) => Tensor>('aten::index_select(Tensor self, int dim, Tensor index) -> Tensor'),
  index_select_out: op<(out: Tensor, self: Tensor, dim: number, index: Tensor) => Tensor>('aten::index_select.out(Tensor self, int dim, Tensor index, *, Tensor(a!) out) -> Tensor(a!)'),
  index_add: op<(self: Tensor, dim: number, index: Tensor, source: Tensor, options?: { alpha?: Scalar }) => Tensor>('aten::index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor'),
  index_add_: op<(self: Tensor, dim: number, index: Tensor, source: Tensor, options?: { alpha?: Scalar }) => Tensor>('aten::index_add_(Tensor(a!) self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor(a!)'),
  index_copy: op<(self: Tensor, dim: number, index: Tensor, source: Tensor) => Tensor>('aten::index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor'),
  index_copy_: op<(self: Tensor, dim: number, index: Tensor, source: Tensor) => Tensor>('aten::index_copy_(Tensor(a!) self, int dim, Tensor index, Tensor source) -> Tensor(a!)'),
  index_fill_: op<(self: Tensor, dim: number, index: Tensor, value: Scalar) => Tensor>('aten::index_fill_.int_Scalar(Tensor(a!) self, int dim, Tensor index, Scalar value) -> Tensor(a!)'),
  gather: op<(self: Tensor, dim: number, index: Tensor, options?: { sparseGrad?: boolean }) => Tensor>('aten::gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor'),
  gather_out: op<(out: Tensor, self: Tensor, dim: number, index: Tensor, options?: { sparseGrad?: boolean }) => Tensor>('aten::gather.out(Tensor self, int dim, Tensor index, *, bool sparse_grad=False, Tensor(a!) out) -> Tensor(a!)'),
  scatter: op<(self: Tensor, dim: number, index: Tensor, src: Tensor) => Tensor>('aten::scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor'),
  scatter_: op<(self: Tensor, dim: number, index: Tensor, src: Tensor) => Tensor>('aten::scatter_.src(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)'),
  scatter_value_: op<(self: Tensor, dim: number, index: Tensor, value: Scalar) => Tensor>('aten::scatter_.value(Tensor(a!) self, int dim, Tensor index, Scalar value) -> Tensor(a!)'),
  scatter_add: op<(self: Tensor, dim: number, index: Tensor, src: Tensor) => Tensor>('aten::scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor'),
  scatter_add_: op<(self: Tensor, dim: number, index: Tensor, src: Tensor) => Tensor>('aten::scatter_add_(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)'),
  scatter_reduce_: op<(self: Tensor, dim: number, index: Tensor, src: Tensor, reduce: string, options?: { includeSelf?: boolean }) => Tensor>('aten::scatter_reduce_.two(Tensor(a!) self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True) -> Tensor(a!)'),
  take_along_dim: op<(self: Tensor, indices: Tensor, dim?: number | undefined) => Tensor>('aten::take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor'),
  embedding: op<(weight: Tensor, indices: Tensor, paddingIdx?: number, scaleGradByFreq?: boolean, sparse?: boolean) => Tensor>('aten::embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor'),
  embedding_dense_backward: op<(gradOutput: Tensor, indices: Tensor, numWeights: number, paddingIdx: number, scaleGradByFreq: boolean) => Tensor>('aten::embedding_dense_backward(Tensor grad_output, Tensor indices, SymInt num_weights, SymInt padding_idx, bool scale_grad_by_freq) -> Tensor'),
  one_hot: op<(self: Tensor, numClasses?: number) => Tensor>('aten::one_hot(Tensor self, int num_classes=-1) -> Tensor'),
}
