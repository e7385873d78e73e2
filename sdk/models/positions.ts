import { ModelError } from '../errors'
import type { PromptRule } from './architecture'

/** Where the tokens of one sequence stand; also asked for tokens that come after those it was made from. */
export interface Placement {
  /** Leading tokens that the whole sequence sees. */
  readonly prefix: number
  position(index: number): number
  /** Place in the answer, from 1 on; 0 in the prompt. */
  block(index: number): number
}

const causal: Placement = { prefix: 0, position: (index) => index, block: () => 0 }

/**
 * Positions of a sequence by the record's rule. With a prompt rule (GLM, arXiv 2103.10360) the answer begins at the first
 * `start` token; all its tokens have the position of the mark that they fill in.
 * @throws ModelError `batch.prompt` when the sequence has no start of an answer or no mark before it
 */
export function placementOf(rule: PromptRule | null, ids: ArrayLike<number>): Placement {
  if (rule === null) return causal
  const list = Array.from(ids), start = list.indexOf(rule.start)
  const mark = rule.marks.map((id) => list.indexOf(id)).find((at) => at >= 0)
  if (start < 0 || mark === undefined) {
    const [what, id] = start < 0 ? ['the start of an answer', rule.start] : ['the mark of where the answer belongs', rule.marks[0]]
    throw new ModelError('batch.prompt', `expected ${what} (token ${id}) in every sequence of this model, got ${list.length} tokens without it; write inputs as text, ${rule.marks[0]}, ${rule.start}, answer`, { start: rule.start, marks: rule.marks })
  }
  return { prefix: start, position: (index) => (index < start ? index : mark), block: (index) => Math.max(0, index - start + 1) }
}
