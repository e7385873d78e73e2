import * as fs from 'node:fs'
import * as path from 'node:path'
import { ModelError } from '../errors'
import { byteAlphabet, byteLevelJson, specialFrom } from './byte-level'
import { chatTemplate, readJson, specialTexts } from './folder'
import { splitRules } from './gguf-pre'
import type { TokenizerSpec } from './spec'

/** Tokens behind Qwen's vocabulary, as tokenization_qwen.py lists them. */
const special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', ...Array.from({ length: 205 }, (_, i) => `<|extra_${i}|>`)]

/** What Qwen's chat models were tuned on (make_context of qwen_generation_utils.py), as a template. */
const chatMl = `{%- if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>' }}{% endif -%}
{%- for message in messages %}{{ ('' if loop.first and message['role'] == 'system' else '\\n') + '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' }}{% endfor -%}
{%- if add_generation_prompt %}{{ '\\n<|im_start|>assistant\\n' }}{% endif -%}`

/**
 * Qwen's tokenizer (the first generation): byte-level BPE by rank, as tiktoken does it, text in NFC first, special tokens found
 * in texts. Chat models (`"chat_format": "chatml"` in generation_config.json) get ChatML as their template.
 * @throws ModelError `tokenizer.file` when the file is broken
 */
export function specFromTiktoken(folder: string, file: string): TokenizerSpec {
  const tokens = readRanks(path.join(folder, file)), config = readJson(folder, 'tokenizer_config.json') ?? {}
  const rule = splitRules.qwen2
  const json = byteLevelJson({
    vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: mergesByRank(tokens), normalizer: rule.normalizer, preTokenizer: rule.preTokenizer,
    // A piece that is a token is one, as in tiktoken.
    ignoreMerges: true, added: specialFrom(tokens.length, special), before: null,
  })
  const [end] = special, chat = readJson(folder, 'generation_config.json')?.chat_format === 'chatml'
  return {
    source: folder, json, specialTexts: { eos_token: end, pad_token: end, ...specialTexts(config) },
    chatTemplate: chatTemplate(folder, config) ?? (chat ? chatMl : null),
  }
}

/** Tokens by rank, in the letters of byte-level vocabularies. A line is a token in base64 and its rank. */
function readRanks(file: string): string[] {
  const alphabet = byteAlphabet(), tokens: string[] = []
  fs.readFileSync(file, 'utf8').split('\n').forEach((line, i) => {
    if (line.trim() === '') return
    const [, base64, rank] = /^([A-Za-z0-9+/]+={0,2}) (\d+)\s*$/.exec(line) ?? []
    if (base64 === undefined || Number(rank) !== tokens.length) throw broken(file, `line ${i + 1} is not a token in base64 with the rank ${tokens.length}`, { line: i + 1 })
    tokens.push(Array.from(Buffer.from(base64, 'base64'), (byte) => alphabet[byte]).join(''))
  })
  const known = new Set(tokens)
  if (known.size !== tokens.length) throw broken(file, 'has a token twice')
  const missing = alphabet.findIndex((letter) => !known.has(letter))
  if (missing >= 0) throw broken(file, `has no token for byte ${missing}`, { byte: missing })
  return tokens
}

/**
 * Merges that do what tiktoken does: of all neighbours whose union is a token it joins those of the lowest rank. Every way to cut a
 * token into two is therefore a merge, and they are ordered by the token's rank.
 */
function mergesByRank(tokens: readonly string[]): [string, string][] {
  const known = new Set(tokens), merges: [string, string][] = []
  for (const token of tokens) {
    for (let cut = 1; cut < token.length; cut++) {
      const left = token.slice(0, cut), right = token.slice(cut)
      if (known.has(left) && known.has(right)) merges.push([left, right])
    }
  }
  return merges
}

function broken(file: string, seen: string, details: Record<string, unknown> = {}): ModelError {
  return new ModelError('tokenizer.file', `${file}: ${seen}; download the model's tokenizer again`, { file, ...details })
}
