// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.
import { op } from './op'
import type { Tensor } from '../tensor'
import type { DType, Scalar } from '../types'

export const linear = {
  mm: op<(self: Tensor, mat2: Tensor) => Tensor>('aten::mm(Tensor self, Tensor mat2) -> Tensor'),
  mm_out: op<(out: Tensor, self: Tensor, mat2: Tensor) => Tensor>('aten::mm.out(Tensor self, Tensor mat2, *, Tensor(a!) out) -> Tensor(a!)'),
  bmm: op<(self: Tensor, mat2: Tensor) => Tensor>('aten::bmm(Tensor self, Tensor mat2) -> Tensor'),
  bmm_out: op<(out: Tensor, self: Tensor, mat2: Tensor) => Tensor>('aten::bmm.out(Tensor self, Tensor mat2, *, Tensor(a!) out) -> Tensor(a!)'),
  baddbmm: op<(self: Tensor, batch1: Tensor, batch2: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor>('aten::baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor'),
  baddbmm_: op<(self: Tensor, batch1: Tensor, batch2: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor>('aten::baddbmm_(Tensor(a!) self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor(a!)'),
  addmm: op<(self: Tensor, mat1: Tensor, mat2: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor>('aten::addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor'),
  addmm_: op<(self: Tensor, mat1: Tensor, mat2: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor>('aten::addmm_(Tensor(a!) self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor(a!)'),
  addmm_out: op<(out: Tensor, self: Tensor, mat1: Tensor, mat2: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor>('aten::addmm.out(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1, Tensor(a!) out) -> Tensor(a!)'),
  addmv: op<(self: Tensor, mat: Tensor, vec: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor>('aten::addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor'),
  mv: op<(self: Tensor, vec: Tensor) => Tensor>('aten::mv(Tensor self, Tensor vec) -> Tensor'),
  dot: op<(self: Tensor, tensor: Tensor) => Tensor>('aten::dot(Tensor self, Tensor tensor) -> Tensor'),
  outer: op<(self: Tensor, vec2: Tensor) => Tensor>('aten::outer(Tensor self, Tensor vec2) -> Tensor'),
  matmul: op<(self: Tensor, other: Tensor) => Tensor>('aten::matmul(Tensor self, Tensor other) -> Tensor'),
  matmul_out: op<(out: Tensor, self: Tensor, other: Tensor) => Tensor>('aten::matmul.out(Tensor self, Tensor other, *, Tensor(a!) out) -> Tensor(a!)'),
  linear: op<(input: Tensor, weight: Tensor, bias?: Tensor | undefined) => Tensor>('aten::linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor'),
  linear_out: op<(out: Tensor, input: Tensor, weight: Tensor, bias?: Tensor | undefined) => Tensor>('aten::linear.out(Tensor input, Tensor weight, Tensor? bias=None, *, Tensor(a!) out) -> Tensor(a!)'),
  einsum: op<(equation: string, tensors: readonly Tensor[], options?: { path?: readonly number[] | undefined }) => Tensor>('aten::einsum(str equation, Tensor[] tensors, *, int[]? path=None) -> Tensor'),
  linalg_qr: op<(A: Tensor, mode?: string) => [Tensor, Tensor]>('aten::linalg_qr(Tensor A, str mode="reduced") -> (Tensor Q, Tensor R)'),
  linalg_svd: op<(A: Tensor, fullMatrices?: boolean, options?: { driver?: string | undefined }) => [Tensor, Tensor, Tensor]>('aten::linalg_svd(Tensor A, bool full_matrices=True, *, str? driver=None) -> (Tensor U, Tensor S, Tensor Vh)'),
  linalg_inv: op<(A: Tensor) => Tensor>('aten::linalg_inv(Tensor A) -> Tensor'),
  linalg_norm: op<(self: Tensor, ord?: Scalar | undefined, dim?: readonly number[] | number | undefined, keepdim?: boolean, options?: { dtype?: DType | undefined }) => Tensor>('aten::linalg_norm(Tensor self, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor'),
  _int_mm: op<(self: Tensor, mat2: Tensor) => Tensor>('aten::_int_mm(Tensor self, Tensor mat2) -> Tensor'),
}
