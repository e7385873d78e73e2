import type { DType } from 'fettle-native'
import { safetensorsDtypes } from '../safetensors-header'
import { Callee, type Names } from './machine'
import { NumpyArray, NumpyType, Span, Storage, StorageType, TensorView, TextSpan, TorchType } from './values'

/** Storages by the class that files name, and number types by their name. */
const storages: Readonly<Record<string, DType | null>> = {
  DoubleStorage: 'float64', FloatStorage: 'float32', HalfStorage: 'float16', BFloat16Storage: 'bfloat16', LongStorage: 'int64', IntStorage: 'int32',
  ShortStorage: 'int16', CharStorage: 'int8', ByteStorage: 'uint8', BoolStorage: 'bool', UntypedStorage: null,
}
const torchTypes: Readonly<Record<string, DType>> = {
  float64: 'float64', double: 'float64', float32: 'float32', float: 'float32', float16: 'float16', half: 'float16', bfloat16: 'bfloat16',
  int64: 'int64', long: 'int64', int32: 'int32', int: 'int32', int16: 'int16', short: 'int16', int8: 'int8', uint8: 'uint8', bool: 'bool',
}
/** numpy's codes. Paddle keeps bfloat16 as the bits in unsigned 16-bit numbers. */
const numpyTypes: Readonly<Record<string, readonly [DType, number]>> = {
  f8: ['float64', 8], f4: ['float32', 4], f2: ['float16', 2], u2: ['bfloat16', 2], i8: ['int64', 8], i4: ['int32', 4], i2: ['int16', 2], i1: ['int8', 1], u1: ['uint8', 1], b1: ['bool', 1],
}
const sizes = new Map(safetensorsDtypes.map(([, dtype, size]) => [dtype, size]))

/** Bytes of a number. */
export function sizeOf(dtype: DType): number { return sizes.get(dtype) as number }

type Maker = (args: readonly unknown[]) => unknown

const whole = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
const wholes = (value: unknown): value is number[] => Array.isArray(value) && value.length <= 64 && value.every(whole)

/** `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, …)`. A storage without a type gets it from `dtype`. */
function view([storage, offset, shape, strides]: readonly unknown[], dtype?: unknown): TensorView | undefined {
  if (!(storage instanceof Storage) || !whole(offset) || !wholes(shape) || !wholes(strides) || shape.length !== strides.length) return undefined
  const type = dtype instanceof TorchType ? dtype.dtype : storage.dtype
  return type === null ? undefined : new TensorView(storage, type, offset, shape, strides)
}

function numpyType([code]: readonly unknown[]): NumpyType | undefined {
  const known = typeof code === 'string' ? numpyTypes[code.replace(/^[<|=]/, '')] : undefined
  return known && new NumpyType(...known)
}

/** `_frombuffer(data, dtype, shape, order)`, as protocol 5 makes arrays. */
function fromBuffer([data, type, shape, order]: readonly unknown[]): NumpyArray | undefined {
  if (!isData(data) || !(type instanceof NumpyType) || !wholes(shape)) return undefined
  return Object.assign(new NumpyArray(), { data, type, shape, columnsFirst: order === 'F' })
}

function isData(value: unknown): value is NumpyArray['data'] { return value instanceof Uint8Array || value instanceof Span || value instanceof TextSpan }

/** `_codecs.encode(text, 'latin1')`: how protocol 2 keeps bytes, one character each. */
function encode([text, coding]: readonly unknown[]): NumpyArray['data'] | undefined {
  if (coding !== 'latin1' && coding !== 'latin-1') return undefined
  return text instanceof TextSpan ? text : typeof text === 'string' ? Uint8Array.from(Buffer.from(text, 'latin1')) : undefined
}

const first = (make: (value: unknown) => unknown): Maker => ([value]) => make(value)
const isList = (value: unknown): value is unknown[] => Array.isArray(value)
const pairs = (value: unknown): Map<unknown, unknown> | undefined =>
  value === undefined ? new Map() : isList(value) && value.every((pair) => isList(pair) && pair.length === 2) ? new Map(value as [unknown, unknown][]) : undefined
const list = (value: unknown): unknown => (value === undefined ? [] : isList(value) ? value : undefined)

/** What each known callee gives. Names of modules that were renamed stand beside each other. */
const makers: Readonly<Record<string, Maker>> = {
  'torch._utils._rebuild_tensor': (args) => view(args),
  'torch._utils._rebuild_tensor_v2': (args) => view(args),
  'torch._utils._rebuild_tensor_v3': (args) => view(args, args[6]),
  'torch._utils._rebuild_parameter': first((value) => (value instanceof TensorView ? value : undefined)),
  'torch._utils._rebuild_parameter_with_state': first((value) => (value instanceof TensorView ? value : undefined)),
  'torch.Size': first(list),
  'torch.device': ([type]) => type,
  'collections.OrderedDict': first(pairs),
  'collections.defaultdict': () => new Map(),
  'builtins.tuple': first(list), 'builtins.list': first(list),
  'builtins.set': first((value) => new Set(list(value) as unknown[])), 'builtins.frozenset': first((value) => new Set(list(value) as unknown[])),
  'builtins.bytearray': ([value, coding]) => (value === undefined ? new Uint8Array(0) : coding === undefined ? (isData(value) ? value : undefined) : encode([value, coding])),
  'builtins.bytes': ([value]) => (value === undefined ? new Uint8Array(0) : undefined),
  'numpy.core.multiarray._reconstruct': () => new NumpyArray(),
  'numpy.core.numeric._frombuffer': fromBuffer,
  'numpy.core.multiarray.scalar': ([type, data]) => (type instanceof NumpyType && isData(data) ? Object.assign(new NumpyArray(), { type, data }) : undefined),
  'numpy.dtype': numpyType,
  '_codecs.encode': encode,
}

const renamed = (module: string): string => module.replace(/^__builtin__$/, 'builtins').replace(/^numpy\._core\./, 'numpy.core.').replace(/^copy_reg$/, 'copyreg')

/** The names that this folder knows; a storage is found by `persistent`. */
export function tensorNames(persistent: Names['persistent']): Names {
  return {
    persistent,
    global(givenModule, name) {
      const module = renamed(givenModule)
      if ((module === 'torch' || module === 'torch.storage' || module === 'torch.cuda') && Object.hasOwn(storages, name)) return new StorageType(storages[name])
      if (module === 'torch' && Object.hasOwn(torchTypes, name)) return new TorchType(torchTypes[name])
      const full = `${module}.${name}`
      return Object.hasOwn(makers, full) || full === 'numpy.ndarray' ? new Callee(full) : undefined
    },
    make: (callee, args) => (callee instanceof Callee && Object.hasOwn(makers, callee.name) ? makers[callee.name](args) : undefined),
    build,
  }
}

/** States: of a number type its byte order, of an array all that it is; a dictionary's attributes (`_metadata`) are passed over. */
function build(object: unknown, state: unknown): boolean {
  if (object instanceof Map || object instanceof TensorView) return true
  if (object instanceof NumpyType) return isList(state) && state[1] !== '>'
  if (!(object instanceof NumpyArray) || !isList(state) || state.length !== 5) return false
  const [, shape, type, columnsFirst, data] = state
  if (!wholes(shape) || !(type instanceof NumpyType) || !isData(data)) return false
  Object.assign(object, { shape, type, columnsFirst: columnsFirst === true, data })
  return true
}
