import * as path from 'node:path'
import type { PreparedSplit } from '../data/dataset'
import { chatStopIds } from '../data/encode'
import { readRows } from '../data/rows'
import { CharacterScorer, type CharacterScores, type TextPair } from '../metrics/characters'
import { writeTextAtomically } from '../models/weights/atomic'
import { continueAll } from './answers'
import type { Session } from './session'

/** Where the answers of an evaluation go, one `{"output", "tgt"}` a line. */
export const generatedName = 'generated_output.json'

/** A row as it is asked. */
interface Question { readonly index: number; readonly prompt: readonly number[]; readonly target: string }

/** How far it is, and whether somebody wants it to end. */
export interface EvaluationWatch { readonly onProgress: (done: number, total: number) => void; readonly isOver: () => boolean }

/**
 * Answers every row of a split by the plan's generation settings and scores the answers: the last round of each row, with the rounds
 * before it in its prompt. Rows of like length go together, the longest first, `batch.evalSize` at once. Answers and targets are
 * compared as the tokenizer reads them back, without special tokens.
 * @returns `null` when it was ended
 */
export async function scoreAnswers(session: Session, split: PreparedSplit, { onProgress, isOver }: EvaluationWatch): Promise<CharacterScores | null> {
  const { plan, decoder, tokenizer, encoder } = session
  const questions = await ask(session, split)
  const pairs = new Array<TextPair>(questions.length)
  const stopIds = await chatStopIds(decoder.parameters.architecture.eosIds, tokenizer, encoder)
  const inOrder = [...questions].sort((a, b) => b.prompt.length - a.prompt.length || a.index - b.index)
  for (let from = 0; from < inOrder.length; from += plan.batch.evalSize) {
    onProgress(from, inOrder.length)
    const batch = inOrder.slice(from, from + plan.batch.evalSize)
    const answers = await continueAll(session, batch.map(({ prompt }) => prompt), { ...plan.evaluation.generation, stopIds }, { isOver })
    if (isOver()) return null
    batch.forEach(({ index, target }, i) => { pairs[index] = { output: answers[i], target } })
  }
  onProgress(inOrder.length, inOrder.length)
  const scorer = new CharacterScorer()
  for (const pair of pairs) scorer.add(pair)
  if (plan.evaluation.saveOutput) {
    writeTextAtomically(path.join(session.output, generatedName), pairs.map(({ output, target }) => `${JSON.stringify({ output, tgt: target })}\n`).join(''))
  }
  return scorer.scores()
}

async function ask({ tokenizer, encoder }: Session, split: PreparedSplit): Promise<Question[]> {
  const questions: Question[] = []
  for (const { src, tgt } of readRows(split.sources)) {
    const prompt = await encoder.prompt({ src, tgt: tgt.slice(0, -1) })
    const target = tokenizer.decode(await tokenizer.encode(tgt[tgt.length - 1]), { skipSpecial: true })
    questions.push({ index: questions.length, prompt, target })
  }
  return questions
}
