import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals } from './flags'
import { readPairs, score } from '../metrics'

export const scoreCommand: Command = {
  name: 'score',
  summary: 'BLEU and Rouge of generated texts, as JSON',
  usage: ['score FILE [--words]'],
  flags: [{ name: 'words', type: 'flag', help: "sacrebleu's and rouge-score's figures, by the word, beside those by the character" }],
  details: () => 'FILE has one {"output": "…", "tgt": "…"} object a line, as generated_output.json of an evaluation by generation.',
  async run(parsed, terminal) {
    const [file] = takePositionals(parsed, ['FILE'], 'score')
    terminal.out(`${JSON.stringify(score(readPairs(file), { words: parsed.values.words === true }))}\n`)
    return exitCodes.ok
  },
}
