import * as fs from 'node:fs'
import * as path from 'node:path'
import { ModelError } from '../errors'
import { byteLevel, byteLevelJson } from './byte-level'
import { addedBeside, chatTemplate, readJson, specialTexts } from './folder'
import { addedToken, type AddedToken, type TokenizerSpec } from './spec'

/** Texts of special tokens where no file names them: OPT's class, and GPT-2's for every other model. */
const optTexts = { bos_token: '</s>', eos_token: '</s>', unk_token: '</s>', pad_token: '<pad>' }
const gpt2Texts = { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>' }

/**
 * A tokenizer of GPT-2's kind, from vocab.json and merges.txt and the files beside them: byte-level BPE with GPT-2's splitting. OPT
 * puts `</s>` before every text.
 * @throws ModelError `tokenizer.file`
 */
export function specFromMerges(folder: string): TokenizerSpec {
  const vocab = readVocab(folder), config = readJson(folder, 'tokenizer_config.json') ?? {}
  const opt = readJson(folder, 'config.json')?.model_type === 'opt' || config.tokenizer_class === 'OPTTokenizer'
  const known = Object.fromEntries(Object.entries(opt ? optTexts : gpt2Texts).filter(([, text]) => Object.hasOwn(vocab, text)))
  const texts = { ...known, ...specialTexts(readJson(folder, 'special_tokens_map.json') ?? {}), ...specialTexts(config) }
  const added = addedTokens(folder, vocab, config, Object.values(texts))
  const adds = typeof config.add_bos_token === 'boolean' ? config.add_bos_token : opt
  const json = byteLevelJson({
    vocab, merges: readMerges(folder, vocab), normalizer: null, preTokenizer: { ...byteLevel(true), add_prefix_space: config.add_prefix_space === true }, ignoreMerges: false, added,
    before: adds ? added.find(({ content }) => content === texts.bos_token) ?? null : null,
  })
  return { source: folder, json, specialTexts: texts, chatTemplate: chatTemplate(folder, config) }
}

function readVocab(folder: string): Record<string, number> {
  const vocab = readJson(folder, 'vocab.json') ?? {}, odd = Object.entries(vocab).find(([, id]) => !Number.isInteger(id) || (id as number) < 0)
  if (odd !== undefined) throw broken(path.join(folder, 'vocab.json'), `token ${JSON.stringify(odd[0])} has the id ${JSON.stringify(odd[1])}, expected a whole number`)
  return vocab as Record<string, number>
}

function readMerges(folder: string, vocab: Readonly<Record<string, number>>): [string, string][] {
  const file = path.join(folder, 'merges.txt')
  if (!fs.existsSync(file)) throw broken(file, 'is missing beside vocab.json')
  const merges: [string, string][] = []
  fs.readFileSync(file, 'utf8').split('\n').forEach((line, i) => {
    if (line === '' || (i === 0 && line.startsWith('#version'))) return
    const [left, right, more] = line.replace(/\r$/, '').split(' ')
    if (right === undefined || more !== undefined) throw broken(file, `line ${i + 1} is not two tokens with a space between`)
    const without = [left, right, left + right].find((token) => !Object.hasOwn(vocab, token))
    if (without !== undefined) throw broken(file, `line ${i + 1} speaks of ${JSON.stringify(without)}, which vocab.json does not have`)
    merges.push([left, right])
  })
  return merges
}

/** Special tokens of the vocabulary, and those that the files add to it. */
function addedTokens(folder: string, vocab: Readonly<Record<string, number>>, config: Readonly<Record<string, unknown>>, texts: readonly string[]): AddedToken[] {
  const tokens = new Map<string, AddedToken>()
  for (const content of texts) if (Object.hasOwn(vocab, content)) tokens.set(content, addedToken(vocab[content], content, true))
  for (const token of addedBeside(folder, config, texts)) tokens.set(token.content, token)
  return [...tokens.values()]
}

function broken(file: string, seen: string): ModelError {
  return new ModelError('tokenizer.file', `${file}: ${seen}; download the model's tokenizer again`, { file })
}
