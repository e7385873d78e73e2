/** How a byte-level vocabulary splits text before merging, in tokenizer.json's terms. */
export interface SplitRule {
  readonly normalizer: Record<string, unknown> | null
  readonly preTokenizer: Record<string, unknown>
  /** A whole piece that is in the vocabulary stays whole, whatever the merges say. */
  readonly ignoreMerges: boolean
  /** BOS is put first unless the file says otherwise. */
  readonly addBos: boolean
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const cased = '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+'
const upper = '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*'
const spaces = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const gpt4 = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${spaces}`

const patterns = {
  llama3: gpt4('\\p{N}{1,3}'),
  qwen2: gpt4('\\p{N}'),
  tekken: `${cased}|${upper}|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${spaces}`,
  gpt4o: `${cased}${contractions}?|${upper}${contractions}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${spaces}`,
  bloom: ' ?[^(\\s|[.,!?…。，、।۔،])]+'
}

const byteLevel = (useRegex: boolean): Record<string, unknown> =>
  ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: useRegex })

function split(pattern: string, extra: Partial<SplitRule> = {}): SplitRule {
  const splitter = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }
  return { normalizer: null, ignoreMerges: false, addBos: false, ...extra, preTokenizer: { type: 'Sequence', pretokenizers: [splitter, byteLevel(false)] } }
}

const gpt2: SplitRule = { normalizer: null, ignoreMerges: false, addBos: false, preTokenizer: byteLevel(true) }
const digitsApart: SplitRule = {
  ...gpt2,
  preTokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(true)] }
}
const llama3 = split(patterns.llama3, { ignoreMerges: true, addBos: true })
const nfc = { normalizer: { type: 'NFC' } }

/**
 * `tokenizer.ggml.pre` → split rule. Names as llama.cpp's src/llama-vocab.cpp knows them; patterns as the published
 * tokenizer.json of each family has them. `default` is absent on purpose: it says that the converter did not know.
 */
export const splitRules: Readonly<Record<string, SplitRule>> = {
  // transformers, the reference, reads SmolLM's GGUF files with GPT-2's rule: digits come apart because no merge joins
  // them. llama.cpp splits at digits first, which differs only in the white space before one.
  'smollm': gpt2,
  'starcoder': digitsApart, 'refact': digitsApart, 'codeshell': digitsApart,
  'gpt-2': gpt2, 'phi-2': gpt2, 'olmo': gpt2, 'jais': gpt2,
  'llama-bpe': llama3, 'llama3': llama3, 'llama-v3': llama3, 'falcon3': llama3, 'lfm2': llama3,
  'dbrx': split(patterns.llama3), 'smaug-bpe': split(patterns.llama3),
  'qwen2': split(patterns.qwen2, nfc), 'deepseek-r1-qwen': split(patterns.qwen2, nfc), 'megrez': split(patterns.qwen2, nfc),
  'tekken': split(patterns.tekken, { ignoreMerges: true, addBos: true }),
  'gpt-4o': split(patterns.gpt4o), 'llama4': split(patterns.gpt4o),
  'bloom': split(patterns.bloom)
}
