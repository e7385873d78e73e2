import * as path from 'node:path'
import { ModelError } from '../errors'
import { addedBeside, readJson } from './folder'
import { readBeside, type Beside } from './sentencepiece/folder'
import { pieceIds, readSentencePiece, type SentencePieceModel } from './sentencepiece/model'
import type { RewriteRule } from './sentencepiece/rewrite'
import type { PieceTokenizerSpec } from './sentencepiece/spec'
import { addedToken } from './spec'
import type { TextToken } from './text-tokens'

/** The longest run of spaces that has a token of its own. */
const longestBlank = 80
/** Ids before the pieces in the first release of ChatGLM-6B, whose files do not say so. */
const firstImageTokens = 20_000

/** Line breaks, tabs and runs of spaces are pieces of ChatGLM-6B's model. */
const blanks: RewriteRule = {
  pattern: new RegExp(`\\n|\\t| {2,${longestBlank}}`, 'g'),
  write: (found) => (found === '\n' ? '<n>' : found === '\t' ? '<|tab|>' : `<|blank_${found.length}|>`)
}

/** White space that special tokens take with them, as Python strips it: what is left when line breaks, tabs and runs are pieces. */
const blank = '(?:(?<! ) (?! )|[\\v\\f\\r\\x1c-\\x1f\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000])'

/** True for a folder of ChatGLM2-6B or ChatGLM3-6B, whose tokenizer.model goes by the name of others' too. */
export function isChatGlm2(folder: string): boolean {
  const kind = readJson(folder, 'tokenizer_config.json')?.tokenizer_class
  if (typeof kind === 'string') return /^ChatGLM/.test(kind)
  return /^chatglm/.test(String(readJson(folder, 'config.json')?.model_type ?? ''))
}

/**
 * ChatGLM-6B's tokenizer, as its tokenization_chatglm.py has it: white space has pieces of its own, special tokens are
 * pieces, and `[gMASK] <sop>` follow a text.
 * @throws ModelError `tokenizer.sentencepiece` for a model without the pieces `[gMASK]` and `<sop>`
 */
export function specFromIceText(folder: string, file: string): PieceTokenizerSpec {
  const model = readSentencePiece(path.join(folder, file)), beside = readBeside(folder)
  const ids = pieceIds(model), offset = imageTokens(beside, ids)
  const texts: Record<string, string> = {
    unk_token: '<unk>', bos_token: '<sop>', eos_token: '<eop>', pad_token: '<pad>', mask_token: '[MASK]', gmask_token: '[gMASK]', ...beside.texts
  }
  const idOf = (name: string): number | null => {
    const id = ids.get(texts[name])
    return id === undefined ? null : id + offset
  }
  const after = ['gmask_token', 'bos_token'].map((name) => {
    const id = idOf(name)
    if (id === null) throw new ModelError('tokenizer.sentencepiece', `${model.path}: has no piece ${texts[name]}, so it is not ChatGLM-6B's; download the model's tokenizer again`, { path: model.path, piece: texts[name] })
    return id
  })
  const special = [...new Set(Object.values(texts))].filter((content) => ids.has(content))
  const tokens = special.map((content): TextToken => ({ ...addedToken(ids.get(content)! + offset, content, true), lstrip: true, rstrip: true, blank, where: 'anywhere' }))
  return {
    source: folder, model, offset, tokens, prefix: 'each', added: { before: [], after },
    bosId: idOf('bos_token'), eosId: idOf('eos_token'), padId: idOf('pad_token'),
    specialTexts: texts, chatTemplate: beside.chatTemplate, rewrite: blanks, decoded: decodedBlanks(ids)
  }
}

/** num_image_tokens; where no file says it, the id of `[gMASK]` in config.json tells. */
function imageTokens({ config, folder }: Beside, ids: ReadonlyMap<string, number>): number {
  if (typeof config.num_image_tokens === 'number') return config.num_image_tokens
  const gmask = readJson(folder, 'config.json')?.gmask_token_id, piece = ids.get('[gMASK]')
  return typeof gmask === 'number' && piece !== undefined && gmask >= piece ? gmask - piece : firstImageTokens
}

function decodedBlanks(ids: ReadonlyMap<string, number>): Map<number, string> {
  const texts = ['\n', '\t', ...Array.from({ length: longestBlank - 1 }, (_, i) => ' '.repeat(i + 2))]
  const decoded = new Map<number, string>()
  for (const text of texts) {
    const id = ids.get(blanks.write(text))
    if (id !== undefined) decoded.set(id, text)
  }
  return decoded
}

/** In the order of their ids, which follow the pieces. ChatGLM3 has the last four. */
const glm2Tokens = ['[MASK]', '[gMASK]', '[sMASK]', 'sop', 'eop', '<|system|>', '<|user|>', '<|assistant|>', '<|observation|>']

/**
 * ChatGLM2-6B's and ChatGLM3-6B's tokenizer: special tokens follow the pieces, and `[gMASK] sop` go before a text. `sop` and
 * `eop` are read only right behind another special token: PaddleNLP reads them anywhere, inside of "people" too, where the
 * model's own code reads none.
 */
export function specFromGlm2(folder: string, file: string): PieceTokenizerSpec {
  const model = readSentencePiece(path.join(folder, file)), beside = readBeside(folder)
  const idOf = (token: string): number => model.pieces.length + glm2Tokens.indexOf(token)
  const listed = addedBeside(beside.folder, beside.config).filter(({ content }) => !glm2Tokens.includes(content))
  const tokens: TextToken[] = [
    ...controls(model).map((id): TextToken => ({ ...addedToken(id, model.pieces[id], true), where: 'anywhere' })),
    ...glm2Tokens.map((content): TextToken => ({ ...addedToken(idOf(content), content, true), where: /^\w+$/.test(content) ? 'behind' : 'anywhere' })),
    ...listed.map((token): TextToken => ({ ...token, where: 'anywhere' }))
  ]
  const unknown = model.pieces[model.unknownId]
  return {
    source: folder, model, offset: 0, tokens, prefix: 'each', added: { before: [idOf('[gMASK]'), idOf('sop')], after: [] },
    bosId: model.bosId, eosId: model.eosId, padId: model.unknownId,
    specialTexts: { unk_token: unknown, pad_token: unknown, ...(model.eosId === null ? {} : { eos_token: model.pieces[model.eosId] }) },
    chatTemplate: beside.chatTemplate, rewrite: null
  }
}

/** EOS and the unknown piece are read in texts; BOS is not. */
function controls({ eosId, unknownId }: SentencePieceModel): number[] {
  return eosId === null ? [unknownId] : [eosId, unknownId]
}
