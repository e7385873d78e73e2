import * as path from 'node:path'
import { addedBeside, chatTemplate, readJson, specialTexts } from '../folder'
import { addedToken } from '../spec'
import type { TextToken } from '../text-tokens'
import { PieceType, pieceIds, readSentencePiece, type SentencePieceModel } from './model'
import type { PieceTokenizerSpec } from './spec'

/** The JSON files that stand beside a SentencePiece model and say which tokens transformers adds to it. */
export interface Beside {
  readonly folder: string
  readonly config: Readonly<Record<string, unknown>>
  readonly texts: Readonly<Record<string, string>>
  readonly chatTemplate: string | null
  /** False: the model stands alone, and texts are read as SentencePiece itself reads them. */
  readonly any: boolean
}

export function readBeside(folder: string): Beside {
  const config = readJson(folder, 'tokenizer_config.json')
  const map = readJson(folder, 'special_tokens_map.json'), added = readJson(folder, 'added_tokens.json')
  return {
    folder, config: config ?? {}, texts: { ...specialTexts(map ?? {}), ...specialTexts(config ?? {}) },
    chatTemplate: chatTemplate(folder, config ?? {}), any: config !== null || map !== null || added !== null
  }
}

/**
 * A SentencePiece model as transformers' LlamaTokenizer reads it with the files beside it: added tokens and special tokens
 * are found in any text. A model that stands alone reads texts as SentencePiece itself does; its control pieces are tokens
 * only in texts that a template rendered.
 */
export function specFromPieces(folder: string, file: string): PieceTokenizerSpec {
  const model = readSentencePiece(path.join(folder, file)), beside = readBeside(folder), { config } = beside
  const texts = defaultTexts(model, beside)
  const tokens = textTokens(model, beside, texts)
  const idOf = (name: string): number | null => tokens.find(({ content }) => content === texts[name])?.id ?? null
  const bosId = idOf('bos_token') ?? model.bosId, eosId = idOf('eos_token') ?? model.eosId
  // T5's models end texts with EOS; LLaMA's begin them with BOS.
  const ends = file === 'spiece.model'
  const adds = (name: string, otherwise: boolean): boolean => (typeof config[name] === 'boolean' ? config[name] : otherwise)
  return {
    source: folder, model, offset: 0, tokens,
    prefix: config.add_prefix_space === false ? 'none' : config.legacy === false ? 'first' : 'each',
    added: {
      before: bosId !== null && adds('add_bos_token', !ends) ? [bosId] : [],
      after: eosId !== null && adds('add_eos_token', ends) ? [eosId] : []
    },
    bosId, eosId,
    // LLaMA has no padding token: EOS takes its place, as PaddleNLP does it.
    padId: idOf('pad_token') ?? model.padId ?? eosId,
    specialTexts: texts, chatTemplate: beside.chatTemplate, rewrite: null
  }
}

/** What the files say, else what the model says. */
function defaultTexts(model: SentencePieceModel, { texts }: Beside): Record<string, string> {
  const own: [string, number | null][] = [['bos_token', model.bosId], ['eos_token', model.eosId], ['unk_token', model.unknownId], ['pad_token', model.padId]]
  return { ...Object.fromEntries(own.filter(([, id]) => id !== null).map(([name, id]) => [name, model.pieces[id!]])), ...texts }
}

function textTokens(model: SentencePieceModel, beside: Beside, texts: Readonly<Record<string, string>>): TextToken[] {
  const tokens = new Map<string, TextToken>()
  const ids = pieceIds(model)
  model.pieces.forEach((content, id) => {
    if (model.types[id] === PieceType.control || id === model.unknownId) tokens.set(content, { ...addedToken(id, content, true), where: 'rendered' })
  })
  for (const token of addedBeside(beside.folder, beside.config)) tokens.set(token.content, { ...token, where: 'anywhere' })
  if (!beside.any) return [...tokens.values()]
  const extra = beside.config.additional_special_tokens
  const named = [...Object.values(texts), ...(Array.isArray(extra) ? extra.map(contentOf) : [])].filter((content): content is string => typeof content === 'string' && content !== '')
  for (const content of named) {
    const known = tokens.get(content)
    // As in transformers, a special token that nothing knows gets the next free id.
    const id = known?.id ?? ids.get(content) ?? Math.max(model.pieces.length, ...[...tokens.values()].map((token) => token.id + 1))
    tokens.set(content, { ...(known ?? addedToken(id, content, true)), special: true, where: 'anywhere' })
  }
  return [...tokens.values()]
}

function contentOf(token: unknown): unknown {
  return typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token
}
