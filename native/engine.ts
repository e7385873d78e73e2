import type { DType } from './types'

/** An integer that stands for a tensor on the C++ side; 0 is "no tensor". */
export type Handle = number

/** What `resolve` tells about an operator: id, schema, parameter names and kinds, return kinds, returned parameter, changed parameters. */
export type Resolved = [
  id: number,
  schema: string,
  names: string[],
  kinds: ('tensor' | 'tensors' | 'list' | 'value')[],
  returns: ('tensor' | 'tensors' | 'value')[],
  returned: number,
  changed: number[],
]

/** The functions of engine.node, one to one (native/src). Handles are raw: only the binding calls these. */
export interface Engine {
  setErrorClass(type: unknown): void
  fromBytes(bytes: NodeJS.TypedArray, shape: readonly number[], dtype: DType): Handle
  toBytes(handle: Handle, dtype?: DType): ArrayBuffer
  writeBytes(handle: Handle, fd: number): void
  copyBytes(handle: Handle, bytes: NodeJS.TypedArray): void
  mapOpen(path: string): [id: number, length: number]
  mapTensor(id: number, byteOffset: number, shape: readonly number[], dtype: DType): Handle
  mapForget(handle: number): boolean
  mapClose(id: number): void
  free(handle: Handle): void
  freeAll(handles: Uint32Array, count: number): void
  shape(handle: Handle): number[]
  strides(handle: Handle): number[]
  dtype(handle: Handle): DType
  device(handle: Handle): string
  numel(handle: Handle): number
  contiguous(handle: Handle): boolean
  live(): number
  alias(handle: Handle): Handle
  address(handle: Handle): number
  item(handle: Handle): number
  call(operator: number, ...values: unknown[]): unknown
  resolve(name: string, overload: string): Resolved
  overloads(name: string): string[]
  gradMode(on: boolean): boolean
  requiresGrad(handle: Handle): boolean
  setRequiresGrad(handle: Handle, on: boolean): void
  grad(handle: Handle): Handle
  setGrad(handle: Handle, gradient: Handle): void
  backward(roots: Handle[], gradients?: Handle[], retain?: boolean): void
  gradOf(outputs: Handle[], inputs: Handle[], gradients?: Handle[], retain?: boolean, allowUnused?: boolean): Handle[]
  fusedAdamW(
    params: Handle[], grads: Handle[], expAvgs: Handle[], expAvgSqs: Handle[], steps: Handle[],
    lr: number, beta1: number, beta2: number, weightDecay: number, eps: number, gradScale: Handle, foundInf: Handle,
  ): void
  version(): string
  cpuCapability(): string
  threads(): number
  setThreads(count: number): void
  manualSeed(seed: number): void
  rngState(device: string): Handle
  setRngState(device: string, state: Handle): void
  cudaDevices(): number
  deviceMemory(index: number): [free: number, total: number]
  tuneAllocator(): boolean
  trimAllocator(): boolean
  hugePages(handle: Handle): boolean
  heap(): [used: number, held: number]
  tensorBytes(): [now: number, peak: number]
  minorFaults(): number
  residentBytes(): [resident: number, file: number]
  deviceBytes(index: number): [now: number, peak: number, held: number]
  synchronize(index: number): void
  openFileStore(path: string, ranks: number, timeout: number): number
  openTcpStore(host: string, port: number, ranks: number, serves: boolean, timeout: number): [store: number, port: number]
  closeStore(store: number): void
  storeSet(store: number, key: string, value: string): void
  storeGet(store: number, key: string): string
  storeHas(store: number, key: string): boolean
  storeAdd(store: number, key: string, by: number): number
  openGroup(store: number, name: string, rank: number, size: number, timeout: number, address: string): number
  storeExternal(store: number): object
  adoptGroup(group: object): number
  closeGroup(group: number): void
  allReduce(group: number, tensor: Handle, reduction: string, later: boolean): number
  allGather(group: number, out: Handle, own: Handle, later: boolean): number
  allToAll(group: number, out: Handle, tensor: Handle, later: boolean): number
  broadcast(group: number, tensor: Handle, root: number, later: boolean): number
  send(group: number, tensor: Handle, rank: number, tag: number, later: boolean): number
  receive(group: number, tensor: Handle, rank: number, tag: number, later: boolean): number
  waitWork(work: number): void
  showProgress(path: string): void
  dieWithParent(pid: number): boolean
}
