/** Base of every error that Fettle throws on purpose: a stable `code`, what was seen, and the next step. */
export class FettleError extends Error {
  /** Stable, machine-readable name of the cause, such as `plan.value` or `data.line`. */
  readonly code: string
  /** The values that were seen, for programs that handle the error. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, details: Record<string, unknown> = {}, options?: { cause?: unknown }) {
    super(message, options)
    this.name = new.target.name
    this.code = code
    this.details = Object.freeze({ ...details })
  }

  /** Plain data with name, code, message, details and stack, for `JSON.stringify` and messages; `cause` stays behind. */
  toJSON(): SerializedError {
    return { name: this.name, code: this.code, message: this.message, details: this.details, stack: this.stack }
  }
}

/** How an error travels from a worker to the front. */
export interface SerializedError {
  /** Class of the error, such as `PlanError`. */
  readonly name: string
  /** Stable name of the cause, such as `plan.value`. */
  readonly code: string
  /** What, where and the next step. */
  readonly message: string
  /** The values that were seen. */
  readonly details?: Readonly<Record<string, unknown>>
  /** Where it was thrown, in the process that threw it. */
  readonly stack?: string
}

/** A wrong plan: builder call, argument file or flag. */
export class PlanError extends FettleError {}
/** Bad data: names file, line and column. */
export class DataError extends FettleError {}
/** A model, tokenizer or weights file that is missing, unknown or broken. */
export class ModelError extends FettleError {}
/** A checkpoint that is missing, incomplete or does not fit. */
export class CheckpointError extends FettleError {}
/** Training that cannot go on: a loss or gradient that is not finite, memory that does not suffice. */
export class TrainingError extends FettleError {}
/** A rank worker that failed, was killed or hangs. */
export class WorkerError extends FettleError {}
/** A hub that refuses an upload, or cannot be reached for it. */
export class HubError extends FettleError {}
/** What the machine lacks: libtorch, a compiler, memory, a device. */
export class EnvironmentError extends FettleError {}

const classes: Record<string, new (code: string, message: string, details?: Record<string, unknown>) => FettleError> =
  { FettleError, PlanError, DataError, ModelError, CheckpointError, TrainingError, WorkerError, HubError, EnvironmentError }

/** Serializes anything thrown, FettleError or not. */
export function serializeError(error: unknown): SerializedError {
  if (error instanceof FettleError) return error.toJSON()
  const e = error instanceof Error ? error : new Error(String(error))
  const extra = e as Error & { code?: unknown; details?: Record<string, unknown> }
  return { name: e.name, code: typeof extra.code === 'string' ? extra.code : 'internal', message: e.message, details: extra.details, stack: e.stack }
}

/** Rebuilds a typed error from its serialized form; the remote stack is kept in `details.remoteStack`. */
export function reviveError(data: SerializedError): FettleError {
  const Class = classes[data.name] ?? WorkerError
  return new Class(data.code, data.message, { ...data.details, remoteStack: data.stack })
}
