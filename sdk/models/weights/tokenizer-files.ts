/** Files that a tokenizer may consist of, in a model folder or a hub repository. */
export const tokenizerFiles: readonly string[] = [
  'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt', 'tokenizer.model',
  'sentencepiece.bpe.model', 'spiece.model', 'ice_text.model', 'qwen.tiktoken', 'chat_template.jinja', 'chat_template.json',
]
