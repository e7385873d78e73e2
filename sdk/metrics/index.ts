export type { CharacterScores, TextPair } from './characters'
export { readPairs, score, type ScoreOptions, type Scores } from './score'
export type { WordScores } from './words'
