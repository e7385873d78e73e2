export {
  editDistance, fastPrecision, pronouncePrompt, pronunciations, scorePronunciations, scoreSample,
  type Pronunciation, type PronunciationOptions, type PronunciationScore, type PronunciationTask,
} from './pronounce'
export { specialIds as tinyIds } from './byte-tokenizer'
export { tinyModel, type TinyModelOptions } from './tiny'
