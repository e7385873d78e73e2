import { createHash } from 'node:crypto'
import { ModelTemplate } from '../chat-template'
import { TextTokens } from '../text-tokens'
import type { ChatMessage, ChatOptions, DecodeOptions, EncodeOptions, Mark, MarkedIds, StreamDecoder, Tokenizer } from '../types'
import { PieceText } from './decode'
import { PieceType, pieceIds } from './model'
import { SentencePiece } from './processor'
import { rewriteText, rewriteWithPlaces } from './rewrite'
import type { PieceTokenizerSpec } from './spec'

/** Ids, and the UTF-16 range of the text that each comes from. */
interface Placed { readonly ids: number[]; readonly from: number[]; readonly to: number[] }

/** A tokenizer of the SentencePiece kind: added tokens first, then SentencePiece's own rules on the text between them. */
export class SentencePieceTokenizer implements Tokenizer {
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
  private readonly tokens: TextTokens
  /** Texts of the tokens, whether they are pieces or not; but an unknown piece decodes as the model says. */
  private readonly contents: ReadonlyMap<number, string>
  private readonly template: ModelTemplate
  private built: SentencePiece | null = null
  private ids: ReadonlyMap<string, number> | null = null

  constructor(private readonly spec: PieceTokenizerSpec) {
    const { model, offset, tokens } = spec
    this.source = spec.source
    this.bosId = spec.bosId
    this.eosId = spec.eosId
    this.padId = spec.padId
    this.added = spec.added
    this.chatTemplate = spec.chatTemplate
    this.specialTexts = spec.specialTexts
    this.tokens = new TextTokens(tokens)
    this.contents = new Map(tokens.filter(({ id }) => id !== model.unknownId + offset).map(({ id, content }) => [id, content]))
    this.template = new ModelTemplate(spec.source, spec.chatTemplate, spec.specialTexts)
    const controls = model.pieces.flatMap((_, id) => (model.types[id] === PieceType.control || id === model.unknownId ? [id + offset] : []))
    this.specialIds = new Set([...controls, ...tokens.filter(({ special }) => special).map(({ id }) => id)])
    this.vocabSize = tokens.reduce((most, { id }) => Math.max(most, id + 1), model.pieces.length + offset)
    const rules = [offset, tokens, spec.prefix, spec.added, spec.rewrite?.pattern.source ?? null, spec.specialTexts, spec.chatTemplate]
    this.fingerprint = createHash('sha256').update(model.digest).update(JSON.stringify(rules)).digest('hex')
  }

  /** Built on first use: the fingerprint, which decides whether prepared data can be used again, needs no tables. */
  private get pieces(): SentencePiece { return this.built ??= new SentencePiece(this.spec.model) }

  async encode(text: string, options: EncodeOptions = {}): Promise<number[]> { return this.encodeNow(text, options) }

  async encodeBatch(texts: readonly string[], options: EncodeOptions = {}): Promise<Int32Array[]> {
    return texts.map((text) => Int32Array.from(this.encodeNow(text, options)))
  }

  async encodeMarked(texts: readonly { readonly text: string; readonly marks: readonly Mark[] }[]): Promise<MarkedIds[]> {
    return texts.map(({ text, marks }) => {
      const placed = this.encodePlaced(text, [])
      const straddled = marks.filter((mark) => mark.split && straddles(placed, mark.at)).map(({ at }) => at)
      const { ids, from } = straddled.length === 0 ? placed : this.encodePlaced(text, [...new Set(straddled)])
      return { ids: Int32Array.from(ids), cuts: marks.map(({ at }) => firstFrom(from, at)) }
    })
  }

  decode(ids: ArrayLike<number>, options?: DecodeOptions): string {
    const stream = this.streamDecoder(options)
    let text = ''
    for (let i = 0; i < ids.length; i++) text += stream.push(ids[i])
    return text + stream.flush()
  }

  streamDecoder({ skipSpecial = false }: DecodeOptions = {}): StreamDecoder {
    const { model, offset, decoded, prefix } = this.spec
    const pieces = new PieceText(model, decoded)
    return {
      push: (id) => {
        if (skipSpecial && this.specialIds.has(id)) return ''
        const content = this.contents.get(id)
        if (content === undefined) return pieces.push(id - offset)
        return pieces.flush(prefix === 'each') + content
      },
      flush: () => pieces.flush(true)
    }
  }

  tokenOf(id: number): string {
    const { model, offset } = this.spec
    return this.contents.get(id) ?? model.pieces[id - offset] ?? `<no token ${id}>`
  }

  idOf(token: string): number | null {
    this.ids ??= new Map([...[...pieceIds(this.spec.model)].map(([piece, id]) => [piece, id + this.spec.offset] as const), ...[...this.contents].map(([id, content]) => [content, id] as const)])
    return this.ids.get(token) ?? null
  }

  renderChat(messages: readonly ChatMessage[], options?: ChatOptions): string { return this.template.render(messages, options) }

  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): Promise<number[]> {
    return this.encode(this.renderChat(messages, options), { rendered: true })
  }

  private encodeNow(text: string, { special = false, rendered = false }: EncodeOptions): number[] {
    const { before, after } = this.added
    const ids = special ? [...before] : []
    for (const { id, from, to } of this.tokens.split(text, rendered)) {
      if (id !== null) ids.push(id)
      else for (const piece of this.pieces.encode(rewriteText(text.slice(from, to), this.spec.rewrite), { prefix: this.prefixAt(from) }).ids) ids.push(piece + this.spec.offset)
    }
    return special ? [...ids, ...after] : ids
  }

  private encodePlaced(text: string, borders: readonly number[]): Placed {
    const all: Placed = { ids: [], from: [], to: [] }
    for (const { id, from, to } of this.tokens.split(text, true, borders)) {
      if (id !== null) {
        all.ids.push(id)
        all.from.push(from)
        all.to.push(to)
        continue
      }
      const inside = borders.filter((border) => from < border && border < to).map((border) => border - from)
      const { text: written, places } = rewriteWithPlaces(text.slice(from, to), this.spec.rewrite, inside)
      const spans = this.pieces.encode(written, { prefix: this.prefixAt(from), borders: inside.map((border) => firstFrom(places, border)) })
      spans.ids.forEach((piece, i) => {
        all.ids.push(piece + this.spec.offset)
        all.from.push(from + places[spans.from[i]])
        all.to.push(from + places[spans.to[i]])
      })
    }
    return all
  }

  private prefixAt(place: number): boolean {
    return this.spec.prefix === 'each' || (this.spec.prefix === 'first' && place === 0)
  }
}

/** True when a token stands on both sides of a place. */
function straddles({ from, to }: Placed, place: number): boolean {
  const before = firstFrom(from, place) - 1
  return before >= 0 && to[before] > place
}

/** Index of the first of rising numbers that is not below `least`; their count when there is none. */
function firstFrom(rising: ArrayLike<number>, least: number): number {
  let low = 0
  for (let high = rising.length; low < high;) {
    const middle = (low + high) >> 1
    if (rising[middle] < least) low = middle + 1
    else high = middle
  }
  return low
}
