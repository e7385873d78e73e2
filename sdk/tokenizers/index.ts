export { compileChatTemplate, type ChatTemplate } from './chat-template'
export { specFromGguf, tokenizerJsonFromGguf } from './gguf'
export { loadTokenizer, tokenizerFromGguf } from './load'
export { textUse, type TextUse } from './template-texts'
export type {
  ChatMessage, ChatOptions, DecodeOptions, EncodeOptions, Mark, MarkedIds, StreamDecoder, Tokenizer
} from './types'
