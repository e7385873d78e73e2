import { ModelError } from '../errors'
import type { GgufTokenizerMaterial } from '../models/weights/types'
import { splitRules } from './gguf-pre'
import { mergesFromScores } from './merges-from-scores'
import { addedToken, type AddedToken, type TokenizerJson, type TokenizerSpec } from './spec'

/** llama.cpp's token types. */
const UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4

/** The tokenizer of a GGUF file. @throws ModelError `tokenizer.gguf` for kinds that Fettle does not read */
export function specFromGguf(material: GgufTokenizerMaterial): TokenizerSpec {
  const text = (id: number | undefined): string | undefined => id === undefined ? undefined : material.tokens[id]
  const texts = {
    bos_token: text(material.ids.bos), eos_token: text(material.ids.eos),
    unk_token: text(material.ids.unknown), pad_token: text(material.ids.padding)
  }
  const specialTexts = Object.fromEntries(Object.entries(texts).filter((e): e is [string, string] => e[1] !== undefined))
  return { source: material.path, json: tokenizerJsonFromGguf(material), specialTexts, chatTemplate: material.chatTemplate ?? null }
}

/**
 * Builds the content of a tokenizer.json from what a GGUF file carries: byte-level BPE (`gpt2`) with the split rule that
 * `tokenizer.ggml.pre` names, or SentencePiece BPE (`llama`) with merges derived from the scores.
 * @throws ModelError `tokenizer.gguf` for another kind, an unknown split rule or missing parts
 */
export function tokenizerJsonFromGguf(material: GgufTokenizerMaterial): TokenizerJson {
  if (material.model === 'gpt2') return byteLevelJson(material)
  if (material.model === 'llama') return sentencePieceJson(material)
  throw refuse(material, `has a tokenizer of the kind "${material.model}"`, 'use a model whose GGUF tokenizer is gpt2 or llama, or its Hugging Face folder', { model: material.model })
}

function byteLevelJson(material: GgufTokenizerMaterial): TokenizerJson {
  const rule = material.pre === undefined ? undefined : splitRules[material.pre]
  if (!rule) {
    const seen = material.pre === undefined ? 'does not say how text is split (tokenizer.ggml.pre is missing)' : `splits text by the rule "${material.pre}", which Fettle does not know`
    throw refuse(material, seen, `known rules: ${Object.keys(splitRules).join(', ')}; use the model's Hugging Face folder, or convert it anew with a current llama.cpp`, { pre: material.pre ?? null })
  }
  if (!material.merges) throw refuse(material, 'has no tokenizer.ggml.merges', 'convert the model anew with a current llama.cpp')
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: true }
  return {
    version: '1.0', truncation: null, padding: null,
    added_tokens: addedTokens(material),
    normalizer: rule.normalizer,
    pre_tokenizer: rule.preTokenizer,
    post_processor: addingProcessor(material, material.addBos ?? rule.addBos, material.addEos ?? false) ?? byteLevel,
    decoder: byteLevel,
    model: bpe(material, material.merges.map(merge => splitMerge(merge, material)), { ignore_merges: rule.ignoreMerges })
  }
}

/** As transformers converts LLaMA's: spaces become ▁, one ▁ goes first, unknown characters fall back to bytes. */
function sentencePieceJson(material: GgufTokenizerMaterial): TokenizerJson {
  const { scores } = material
  if (!scores) throw refuse(material, 'has no tokenizer.ggml.scores', 'convert the model anew with a current llama.cpp')
  if (material.removeExtraWhitespaces) throw refuse(material, 'removes extra white space before it splits', "use the model's Hugging Face folder")
  const prefix = material.addSpacePrefix ?? true
  const underline = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 }
  return {
    version: '1.0', truncation: null, padding: null,
    added_tokens: addedTokens(material),
    normalizer: { type: 'Sequence', normalizers: prefix ? [{ type: 'Prepend', prepend: '▁' }, underline] : [underline] },
    pre_tokenizer: null,
    post_processor: addingProcessor(material, material.addBos ?? true, material.addEos ?? false),
    decoder: {
      type: 'Sequence',
      decoders: [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }, ...(prefix ? [strip] : [])]
    },
    model: bpe(material, mergesFromScores(material.tokens, scores, material.tokenTypes), { byte_fallback: true, fuse_unk: true })
  }
}

function bpe(material: GgufTokenizerMaterial, merges: [string, string][], extra: Record<string, unknown>): Record<string, unknown> {
  const vocab: Record<string, number> = Object.create(null)
  material.tokens.forEach((token, id) => {
    if (token in vocab) throw refuse(material, `has the token ${JSON.stringify(token)} twice, as ${vocab[token]} and ${id}`, 'download the file again', { token })
    vocab[token] = id
  })
  const unknown = material.ids.unknown
  return {
    type: 'BPE', dropout: null, unk_token: material.model === 'llama' && unknown !== undefined ? material.tokens[unknown] : null,
    continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false,
    ...extra, vocab, merges
  }
}

function addedTokens({ tokens, tokenTypes = [] }: GgufTokenizerMaterial): AddedToken[] {
  return tokenTypes.flatMap((type, id) =>
    type === CONTROL || type === UNKNOWN || type === USER_DEFINED ? [addedToken(id, tokens[id], type !== USER_DEFINED)] : [])
}

/** A merge is two tokens with a space between; the first may itself begin with a space. */
function splitMerge(merge: string, material: GgufTokenizerMaterial): [string, string] {
  const space = merge.indexOf(' ', 1)
  if (space < 0) throw refuse(material, `has the merge ${JSON.stringify(merge)}, expected two tokens`, 'download the file again', { merge })
  return [merge.slice(0, space), merge.slice(space + 1)]
}

function addingProcessor({ tokens, ids }: GgufTokenizerMaterial, addBos: boolean, addEos: boolean): Record<string, unknown> | null {
  const before = addBos && ids.bos !== undefined ? [ids.bos] : []
  const after = addEos && ids.eos !== undefined ? [ids.eos] : []
  if (!before.length && !after.length) return null
  const one = (id: number, typeId: number) => ({ SpecialToken: { id: tokens[id], type_id: typeId } })
  const part = (name: 'A' | 'B', typeId: number) =>
    [...before.map(id => one(id, typeId)), { Sequence: { id: name, type_id: typeId } }, ...after.map(id => one(id, typeId))]
  return {
    type: 'TemplateProcessing', single: part('A', 0), pair: [...part('A', 0), ...part('B', 1)],
    special_tokens: Object.fromEntries([...before, ...after].map(id => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]))
  }
}

function refuse(material: GgufTokenizerMaterial, seen: string, remedy: string, details: Record<string, unknown> = {}): ModelError {
  return new ModelError('tokenizer.gguf', `${material.path}: ${seen}; ${remedy}`, { path: material.path, ...details })
}
