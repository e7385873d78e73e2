import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import type { TestContext } from 'node:test'
import { fixture } from './paths'

/** A temporary folder that goes when the test ends. */
export function temporaryFolder(t: TestContext, name = 'fettle'): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `${name}-`))
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The characters that GPT-2's byte-level alphabet writes bytes 0 to 255 with. */
function byteAlphabet(): string[] {
  const plain = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255)
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(plain(byte) ? byte : next++))
}

/** A byte-level tokenizer.json: <unk> 0, <s> 1, </s> 2, then one token a byte. */
export function byteTokenizer(): Record<string, unknown> {
  const special = ['<unk>', '<s>', '</s>']
  const vocab = Object.fromEntries([...special, ...byteAlphabet()].map((token, id) => [token, id]))
  return {
    version: '1.0', truncation: null, padding: null, normalizer: null, post_processor: null,
    added_tokens: special.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab, merges: [] }
  }
}

/** Copies a golden model into `folder` and gives it the byte tokenizer, so that a whole run works on it. */
export function tinyModel(folder: string, golden = 'llama-v2-gqa'): string {
  fs.mkdirSync(folder, { recursive: true })
  for (const name of ['config.json', 'model.safetensors']) fs.copyFileSync(fixture('golden', golden, name), path.join(folder, name))
  fs.writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(byteTokenizer()))
  fs.writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast', bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' }))
  return folder
}

/** Writes `train.json` and `dev.json` of short rows with lengths that differ. */
export function tinyData(folder: string, rows = 11, devRows = 3): string {
  fs.mkdirSync(folder, { recursive: true })
  const row = (i: number): string => JSON.stringify({ src: `n ${i}: ${'ab'.repeat(i % 5)}`, tgt: `${'xyz'.slice(0, 1 + (i % 3))}${'!'.repeat(i % 7)}` })
  const write = (name: string, from: number, count: number): void =>
    fs.writeFileSync(path.join(folder, name), Array.from({ length: count }, (_, i) => `${row(from + i)}\n`).join(''))
  write('train.json', 0, rows)
  write('dev.json', rows, devRows)
  return folder
}
