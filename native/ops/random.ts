// Made by native/setup/generate-operators.mjs from operators.txt; edit that, not this.
import { op } from './op'
import type { Tensor } from '../tensor'
import type { DType, Device, MemoryFormat } from '../types'

export const random = {
  rand: op<(size: readonly number[], options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::rand(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  rand_like: op<(self: Tensor, options?: { dtype?: DType | undefined; device?: Device | undefined; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::rand_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor'),
  randn: op<(size: readonly number[], options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::randn(SymInt[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  randn_like: op<(self: Tensor, options?: { dtype?: DType | undefined; device?: Device | undefined; memoryFormat?: MemoryFormat | undefined }) => Tensor>('aten::randn_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, MemoryFormat? memory_format=None) -> Tensor'),
  randint: op<(low: number, high: number, size: readonly number[], options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::randint.low(SymInt low, SymInt high, SymInt[] size, *, ScalarType? dtype=4, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  randperm: op<(n: number, options?: { dtype?: DType | undefined; device?: Device | undefined }) => Tensor>('aten::randperm(SymInt n, *, ScalarType? dtype=4, Layout? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor'),
  uniform_: op<(self: Tensor, from?: number, to?: number) => Tensor>('aten::uniform_(Tensor(a!) self, float from=0., float to=1., *, Generator? generator=None) -> Tensor(a!)'),
  normal_: op<(self: Tensor, mean?: number, std?: number) => Tensor>('aten::normal_(Tensor(a!) self, float mean=0., float std=1., *, Generator? generator=None) -> Tensor(a!)'),
  bernoulli: op<(self: Tensor) => Tensor>('aten::bernoulli(Tensor self, *, Generator? generator=None) -> Tensor'),
  bernoulli_: op<(self: Tensor, p?: number) => Tensor>('aten::bernoulli_.float(Tensor(a!) self, float p=0.5, *, Generator? generator=None) -> Tensor(a!)'),
  dropout: op<(input: Tensor, p: number, train: boolean) => Tensor>('aten::dropout(Tensor input, float p, bool train) -> Tensor'),
  native_dropout: op<(input: Tensor, p: number, train: boolean | undefined) => [Tensor, Tensor]>('aten::native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)'),
  native_dropout_backward: op<(gradOutput: Tensor, mask: Tensor, scale: number) => Tensor>('aten::native_dropout_backward(Tensor grad_output, Tensor mask, float scale) -> Tensor'),
  multinomial: op<(self: Tensor, numSamples: number, replacement?: boolean) => Tensor>('aten::multinomial(Tensor self, SymInt num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor'),
  exponential_: op<(self: Tensor, lambd?: number) => Tensor>('aten::exponential_(Tensor(a!) self, float lambd=1., *, Generator? generator=None) -> Tensor(a!)'),
}
