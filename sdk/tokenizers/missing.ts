import { ModelError } from '../errors'
import type { StreamDecoder, Tokenizer } from './types'

/** Stands in for the tokenizer of a model that has none that Fettle reads: it exists, and says why on first use. */
export class MissingTokenizer implements Tokenizer {
  readonly fingerprint = ''
  readonly vocabSize = 0
  readonly bosId = null
  readonly eosId = null
  readonly padId = null
  readonly specialIds: ReadonlySet<number> = new Set<number>()
  readonly added = { before: [], after: [] }
  readonly chatTemplate = null
  readonly specialTexts = {}

  constructor(readonly source: string, private readonly seen: string, private readonly remedy: string) {}

  /** The error that every use throws. */
  error(): ModelError {
    return new ModelError('tokenizer.missing', `${this.source}: ${this.seen}; ${this.remedy}`, { source: this.source })
  }

  encode(): Promise<never> { return Promise.reject(this.error()) }
  encodeBatch(): Promise<never> { return Promise.reject(this.error()) }
  encodeMarked(): Promise<never> { return Promise.reject(this.error()) }
  encodeChat(): Promise<never> { return Promise.reject(this.error()) }
  decode(): string { throw this.error() }
  streamDecoder(): StreamDecoder { throw this.error() }
  tokenOf(): string { throw this.error() }
  idOf(): number | null { throw this.error() }
  renderChat(): string { throw this.error() }
}
