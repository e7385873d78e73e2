export {
  editDistance, fastPrecision, pronouncePrompt, pronunciations, scorePronunciations, scoreSample,
  type Pronunciation, type PronunciationOptions, type PronunciationScore, type PronunciationTask,
} from './pronounce'
export { tinyModel, type TinyModelOptions } from './tiny'
