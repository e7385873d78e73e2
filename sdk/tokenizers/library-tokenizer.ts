import { createHash } from 'node:crypto'
import { Tokenizer as Library, type Decoder } from 'tokenizers'
import { ModelError } from '../errors'
import { addedRound } from './added'
import { bytePair, type BytePair } from './byte-pair'
import { ModelTemplate } from './chat-template'
import { encodeMarked } from './marked'
import type { TokenizerJson, TokenizerSpec } from './spec'
import { streamDecoder } from './stream'
import type { ChatMessage, ChatOptions, DecodeOptions, EncodeOptions, Mark, MarkedIds, StreamDecoder, Tokenizer } from './types'

/** A tokenizer of the tokenizer.json kind, over Hugging Face's Rust library. */
export class LibraryTokenizer implements Tokenizer {
  readonly source: string
  readonly fingerprint: string
  readonly vocabSize: number
  readonly bosId: number | null
  readonly eosId: number | null
  readonly padId: number | null
  readonly specialIds: ReadonlySet<number>
  readonly added: { readonly before: readonly number[]; readonly after: readonly number[] }
  readonly chatTemplate: string | null
  readonly specialTexts: Readonly<Record<string, string>>
  private readonly json: string
  private built: { readonly library: Library; readonly decoder: Decoder | null } | null = null
  /** Undefined until it is used first; null: the library does it all. */
  private words: BytePair | null | undefined
  private readonly template: ModelTemplate

  constructor(spec: TokenizerSpec) {
    this.json = JSON.stringify(spec.json)
    this.source = spec.source
    this.fingerprint = createHash('sha256').update(this.json).update(JSON.stringify([spec.specialTexts, spec.chatTemplate])).digest('hex')
    this.chatTemplate = spec.chatTemplate
    this.specialTexts = spec.specialTexts
    this.template = new ModelTemplate(spec.source, spec.chatTemplate, spec.specialTexts)
    this.added = addedRound(spec.json.post_processor)
    this.specialIds = new Set(spec.json.added_tokens.filter(t => t.special).map(t => t.id))
    this.vocabSize = highestId(spec) + 1
    this.bosId = specialId(spec, 'bos_token')
    this.eosId = specialId(spec, 'eos_token')
    this.padId = specialId(spec, 'pad_token')
  }

  /** Built on first use: knowing the fingerprint, which decides whether prepared data can be reused, needs no vocabulary. */
  private get library(): Library { return this.build().library }

  private build(): { readonly library: Library; readonly decoder: Decoder | null } {
    try {
      const library = this.built?.library ?? Library.fromString(this.json)
      return this.built ??= { library, decoder: library.getDecoder() }
    } catch (cause) {
      throw new ModelError('tokenizer.file', `${this.source}: the tokenizer cannot be built (${(cause as Error).message}); download the model's tokenizer again`, { source: this.source }, { cause })
    }
  }

  private get bytePair(): BytePair | null { return this.words === undefined ? (this.words = bytePair(JSON.parse(this.json) as TokenizerJson)) : this.words }

  async encode(text: string, { special = false }: EncodeOptions = {}): Promise<number[]> {
    return (await this.library.encode(text, null, { addSpecialTokens: special })).getIds()
  }

  async encodeBatch(texts: readonly string[], { special = false }: EncodeOptions = {}): Promise<Int32Array[]> {
    const encode = async (batch: readonly string[]): Promise<Int32Array[]> => (await this.library.encodeBatch([...batch], { addSpecialTokens: special })).map(e => new Int32Array(e.getIds()))
    return special ? encode(texts) : fillIn(texts, texts.map(text => this.bytePair?.encode(text) ?? null), encode)
  }

  async encodeMarked(texts: readonly { readonly text: string; readonly marks: readonly Mark[] }[]): Promise<MarkedIds[]> {
    return fillIn(texts, texts.map(({ text, marks }) => this.bytePair?.encodeMarked(text, marks) ?? null),
      rest => encodeMarked(batch => this.library.encodeBatch(batch, { addSpecialTokens: false }), rest))
  }

  decode(ids: ArrayLike<number>, { skipSpecial = false }: DecodeOptions = {}): string {
    const { library, decoder } = this.build()
    const tokens: string[] = []
    for (let i = 0; i < ids.length; i++) {
      if (skipSpecial && this.specialIds.has(ids[i])) continue
      const token = library.idToToken(ids[i])
      // Models often have more rows of embedding than the tokenizer has tokens; those ids have no text.
      if (token !== null) tokens.push(token)
    }
    return decoder ? decoder.decode(tokens) : tokens.join(' ')
  }

  streamDecoder(options?: DecodeOptions): StreamDecoder {
    return streamDecoder(ids => this.decode(ids, options))
  }

  tokenOf(id: number): string {
    return this.library.idToToken(id) ?? `<no token ${id}>`
  }

  idOf(token: string): number | null {
    return this.library.tokenToId(token)
  }

  renderChat(messages: readonly ChatMessage[], options?: ChatOptions): string {
    return this.template.render(messages, options)
  }

  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): Promise<number[]> {
    return this.encode(this.renderChat(messages, options))
  }
}

/** What is known, and the library's answers for the rest, asked in one batch. */
async function fillIn<T, R>(items: readonly T[], known: readonly (R | null)[], ask: (rest: readonly T[]) => Promise<R[]>): Promise<R[]> {
  const rest = items.filter((_, i) => known[i] === null), answers = rest.length === 0 ? [] : await ask(rest)
  let next = 0
  return known.map(found => found ?? answers[next++])
}

/** Id of `bos_token` and its like: added tokens come before the vocabulary's own. */
function specialId({ json, specialTexts }: TokenizerSpec, name: string): number | null {
  const text = specialTexts[name]
  if (text === undefined) return null
  const added = json.added_tokens.find(t => t.content === text)
  if (added) return added.id
  const vocab = (json.model.vocab ?? {}) as Record<string, number> | [string, number][]
  if (!Array.isArray(vocab)) return vocab[text] ?? null
  const at = vocab.findIndex(([token]) => token === text)
  return at < 0 ? null : at
}

function highestId({ json }: TokenizerSpec): number {
  const vocab = (json.model.vocab ?? {}) as Record<string, number> | unknown[]
  let highest = -1
  if (Array.isArray(vocab)) highest = vocab.length - 1
  else for (const token in vocab) highest = Math.max(highest, vocab[token])
  for (const token of json.added_tokens) highest = Math.max(highest, token.id)
  return highest
}
