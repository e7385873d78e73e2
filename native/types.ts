/** Number types of tensors, named as PyTorch names them. */
export type DType = 'float32' | 'float64' | 'bfloat16' | 'float16' | 'int8' | 'uint8' | 'int16' | 'int32' | 'int64' | 'bool'
/** Arrays whose bytes tensors take over. */
export type TypedArray = Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Int32Array | BigInt64Array | Uint16Array
/** `cpu`, `cuda`, `cuda:1`, … */
export type Device = string
/** A number as operators take it: whole numbers pass as integers, bigints as int64. */
export type Scalar = number | boolean | bigint
/** Order of the dimensions in memory, as PyTorch names it. */
export type MemoryFormat = 'contiguous' | 'preserve' | 'channels_last'
