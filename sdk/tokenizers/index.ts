export { compileChatTemplate, type ChatTemplate } from './chat-template'
export { specFromGguf, tokenizerJsonFromGguf } from './gguf'
export { loadTokenizer, tokenizerFromGguf } from './load'
export type {
  ChatMessage, ChatOptions, DecodeOptions, EncodeOptions, Mark, MarkedIds, StreamDecoder, Tokenizer
} from './types'
