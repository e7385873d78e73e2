// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.
import { op } from './op'
import type { Tensor } from '../tensor'
import type { DType, Device, MemoryFormat, Scalar } from '../types'

export const create = {
  empty: op<(size: readonly number[], options?: { dtype?: DType | undefined; device?: Device | undefined; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::empty.memory_format(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor'),
  empty_strided: op<(size: readonly number[], stride: readonly number[], options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::empty_strided(SymInt[] size, SymInt[] stride, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  empty_like: op<(self: Tensor, options?: { dtype?: DType | undefined; device?: Device | undefined; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::empty_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor'),
  zeros: op<(size: readonly number[], options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::zeros(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  zeros_like: op<(self: Tensor, options?: { dtype?: DType | undefined; device?: Device | undefined; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::zeros_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor'),
  zero_: op<(self: Tensor) => Tensor>('aten::zero_(Tensor(a!) self) -> Tensor(a!)'),
  ones: op<(size: readonly number[], options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::ones(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  ones_like: op<(self: Tensor, options?: { dtype?: DType | undefined; device?: Device | undefined; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::ones_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor'),
  full: op<(size: readonly number[], fillValue: Scalar, options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::full(SymInt[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  full_like: op<(self: Tensor, fillValue: Scalar, options?: { dtype?: DType | undefined; device?: Device | undefined; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor'),
  fill_: op<(self: Tensor, value: Scalar) => Tensor>('aten::fill_.Scalar(Tensor(a!) self, Scalar value) -> Tensor(a!)'),
  arange: op<(start: Scalar, end: Scalar, step?: Scalar, options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  linspace: op<(start: Scalar, end: Scalar, steps: number, options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::linspace(Scalar start, Scalar end, int steps, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  eye: op<(n: number, options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::eye(SymInt n, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  clone: op<(self: Tensor, options?: { memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor'),
  copy_: op<(self: Tensor, src: Tensor, nonBlocking?: boolean) => Tensor>('aten::copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)'),
  _to_copy: op<(self: Tensor, options?: { dtype?: DType | undefined; device?: Device | undefined; nonBlocking?: boolean; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor'),
  to: op<(self: Tensor, options?: { dtype?: DType | undefined; device?: Device | undefined; nonBlocking?: boolean; copy?: boolean; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::to.dtype_layout(Tensor(a) self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)'),
  to_dtype: op<(self: Tensor, dtype: DType, nonBlocking?: boolean, copy?: boolean, memoryFormat?: MemoryFormat | undefined) => Tensor>('aten::to.dtype(Tensor(a) self, ScalarType dtype, bool non_blocking=False, bool copy=False, MemoryFormat? memory_format=None) -> Tensor(a)'),
  type_as: op<(self: Tensor, other: Tensor) => Tensor>('aten::type_as(Tensor self, Tensor other) -> Tensor'),
  complex: op<(real: Tensor, imag: Tensor) => Tensor>('aten::complex(Tensor real, Tensor imag) -> Tensor'),
  view_as_complex: op<(self: Tensor) => Tensor>('aten::view_as_complex(Tensor(a) self) -> Tensor(a)'),
  view_as_real: op<(self: Tensor) => Tensor>('aten::view_as_real(Tensor(a) self) -> Tensor(a)'),
  polar: op<(abs: Tensor, angle: Tensor) => Tensor>('aten::polar(Tensor abs, Tensor angle) -> Tensor'),
}
