// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.
import { op } from './op'
import type { Tensor } from '../tensor'
import type { Scalar } from '../types'

export const compare = {
  eq: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::eq.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::eq.Scalar(Tensor self, Scalar other) -> Tensor'),
  ne: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::ne.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::ne.Scalar(Tensor self, Scalar other) -> Tensor'),
  lt: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::lt.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::lt.Scalar(Tensor self, Scalar other) -> Tensor'),
  le: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::le.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::le.Scalar(Tensor self, Scalar other) -> Tensor'),
  gt: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::gt.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::gt.Scalar(Tensor self, Scalar other) -> Tensor'),
  ge: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::ge.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::ge.Scalar(Tensor self, Scalar other) -> Tensor'),
  equal: op<(self: Tensor, other: Tensor) => boolean>('aten::equal(Tensor self, Tensor other) -> bool'),
  isclose: op<(self: Tensor, other: Tensor, rtol?: number, atol?: number, equalNan?: boolean) => Tensor>('aten::isclose(Tensor self, Tensor other, float rtol=1.0000000000000001e-05, float atol=1e-08, bool equal_nan=False) -> Tensor'),
  allclose: op<(self: Tensor, other: Tensor, rtol?: number, atol?: number, equalNan?: boolean) => boolean>('aten::allclose(Tensor self, Tensor other, float rtol=1.0000000000000001e-05, float atol=1e-08, bool equal_nan=False) -> bool'),
  where: op<(condition: Tensor, self: Tensor, other: Tensor) => Tensor>('aten::where.self(Tensor condition, Tensor self, Tensor other) -> Tensor'),
  where_scalar: op<(condition: Tensor, self: Tensor, other: Scalar) => Tensor>('aten::where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor'),
  logical_and: op<(self: Tensor, other: Tensor) => Tensor>('aten::logical_and(Tensor self, Tensor other) -> Tensor'),
  logical_or: op<(self: Tensor, other: Tensor) => Tensor>('aten::logical_or(Tensor self, Tensor other) -> Tensor'),
  logical_not: op<(self: Tensor) => Tensor>('aten::logical_not(Tensor self) -> Tensor'),
  logical_xor: op<(self: Tensor, other: Tensor) => Tensor>('aten::logical_xor(Tensor self, Tensor other) -> Tensor'),
  bitwise_and: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::bitwise_and.Scalar(Tensor self, Scalar other) -> Tensor'),
  bitwise_or: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::bitwise_or.Scalar(Tensor self, Scalar other) -> Tensor'),
  bitwise_not: op<(self: Tensor) => Tensor>('aten::bitwise_not(Tensor self) -> Tensor'),
  bitwise_xor: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::bitwise_xor.Scalar(Tensor self, Scalar other) -> Tensor'),
  bitwise_left_shift: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::bitwise_left_shift.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::bitwise_left_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor'),
  bitwise_right_shift: op<((self: Tensor, other: Tensor) => Tensor) & ((self: Tensor, other: Scalar) => Tensor)>('aten::bitwise_right_shift.Tensor(Tensor self, Tensor other) -> Tensor', 'aten::bitwise_right_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor'),
  masked_fill: op<((self: Tensor, mask: Tensor, value: Tensor) => Tensor) & ((self: Tensor, mask: Tensor, value: Scalar) => Tensor)>('aten::masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor', 'aten::masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor'),
  masked_fill_: op<((self: Tensor, mask: Tensor, value: Tensor) => Tensor) & ((self: Tensor, mask: Tensor, value: Scalar) => Tensor)>('aten::masked_fill_.Tensor(Tensor(a!) self, Tensor mask, Tensor value) -> Tensor(a!)', 'aten::masked_fill_.Scalar(Tensor(a!) self, Tensor mask, Scalar value) -> Tensor(a!)'),
  masked_select: op<(self: Tensor, mask: Tensor) => Tensor>('aten::masked_select(Tensor self, Tensor mask) -> Tensor'),
  nonzero: op<(self: Tensor) => Tensor>('aten::nonzero(Tensor self) -> Tensor'),
  all: op<(self: Tensor) => Tensor>('aten::all(Tensor self) -> Tensor'),
  all_dim: op<(self: Tensor, dim: number, keepdim?: boolean) => Tensor>('aten::all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor'),
  any: op<(self: Tensor) => Tensor>('aten::any(Tensor self) -> Tensor'),
  any_dim: op<(self: Tensor, dim: number, keepdim?: boolean) => Tensor>('aten::any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor'),
}
