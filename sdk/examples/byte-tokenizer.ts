import { byteAlphabet } from '../tokenizers/byte-level'
import { addedToken, type TokenizerJson } from '../tokenizers/spec'

const special = ['<unk>', '<s>', '</s>', '[MASK]', '[gMASK]', '<sop>', '<eop>']

/** Ids of the special tokens of `tinyModel`'s tokenizer that GLM's prompts are made of: text, `gmask`, `start`, answer, `end`. */
export const specialIds = { mask: special.indexOf('[MASK]'), gmask: special.indexOf('[gMASK]'), start: special.indexOf('<sop>'), end: special.indexOf('<eop>') }

/** A tokenizer of one token a byte behind a few special ones: content of tokenizer.json and tokenizer_config.json. */
export function byteTokenizer(glm: boolean, startsWithEnd: boolean): { readonly json: TokenizerJson; readonly config: Record<string, unknown> } {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
  const token = (name: string): Record<string, unknown> => ({ SpecialToken: { id: name, type_id: 0 } }), text = { Sequence: { id: 'A', type_id: 0 } }
  const round = glm ? [text, token('[gMASK]'), token('<sop>')] : startsWithEnd ? [token('</s>'), text] : null
  const processor = round && {
    type: 'TemplateProcessing', single: round, pair: [...round, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: Object.fromEntries(special.map((name, id) => [name, { id: name, ids: [id], tokens: [name] }])),
  }
  return {
    json: {
      version: '1.0', truncation: null, padding: null, normalizer: null, pre_tokenizer: byteLevel, post_processor: processor, decoder: byteLevel,
      added_tokens: special.map((content, id) => addedToken(id, content, true)),
      model: {
        type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false,
        vocab: Object.fromEntries([...special, ...byteAlphabet()].map((name, id) => [name, id])), merges: [],
      },
    },
    config: { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: glm ? '<sop>' : startsWithEnd ? '</s>' : '<s>', eos_token: glm ? '<eop>' : '</s>', unk_token: '<unk>', pad_token: '<unk>' },
  }
}
