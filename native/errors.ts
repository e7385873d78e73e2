/** An error of the native addon: `operator` and `shapes` say what was called with which tensors. */
export class NativeError extends Error {
  /**
   * `native.torch` (libtorch refused), `native.argument`, `native.operator` (unknown), `native.freed`, `native.memory`,
   * `native.device`, `native.file`, `native.open`, `native.missing` (no libtorch or no addon).
   */
  readonly code: string
  /** Name and overload of the operator, such as `aten::add.Tensor`; empty outside operators. */
  readonly operator: string
  /** The tensor arguments, such as `self: float32 [2, 3] cpu`. */
  readonly shapes: readonly string[]

  constructor(code: string, message: string, operator = '', shapes: readonly string[] = []) {
    super([operator && `${operator}: `, message.trim(), shapes.length ? ` (${shapes.join('; ')})` : ''].join(''))
    this.name = 'NativeError'
    this.code = code
    this.operator = operator
    this.shapes = shapes
  }

  /** The values seen, as other Fettle errors carry them. */
  get details(): Record<string, unknown> {
    return { operator: this.operator, shapes: this.shapes }
  }
}
