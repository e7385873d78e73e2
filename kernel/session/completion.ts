import type * as typescript from '@tslab/typescript-for-tslab'
import { fromCodePoints, toCodePoints } from './text'

/** Kinds of the compiler under the names that Jupyter clients have badges for. */
const types: Readonly<Record<string, string>> = {
  const: 'instance', let: 'instance', var: 'instance', 'local var': 'instance', parameter: 'param', alias: 'instance', getter: 'property', setter: 'property',
  'local function': 'function', 'local class': 'class', 'external module name': 'module', directory: 'path', script: 'path', string: 'value', 'primitive type': 'type',
}

/** Content of a `complete_reply`, its places in code points. */
export interface CompletionReply extends Record<string, unknown> {
  readonly matches: readonly string[]
  readonly cursor_start: number
  readonly cursor_end: number
  readonly metadata: { readonly _jupyter_types_experimental: readonly { start: number; end: number; text: string; type: string }[] }
}

const wordCharacter = /[\p{L}\p{N}_$]/u

/** What a completion at `at` replaces: the word around it. A string's own span is the compiler's to say. */
function wordAround(code: string, at: number): { start: number; end: number } {
  let start = at
  while (start > 0 && wordCharacter.test(code[start - 1])) start--
  let end = at
  while (end < code.length && wordCharacter.test(code[end])) end++
  return { start, end }
}

/** How well a name fits what is typed before the cursor: 0 best, `null` not at all. */
function fit(name: string, typed: string): number | null {
  if (name.startsWith(typed)) return 0
  const [low, wanted] = [name.toLowerCase(), typed.toLowerCase()]
  return low.startsWith(wanted) ? 1 : low.includes(wanted) ? 2 : null
}

/** A word that can stand at the cursor; `order` sorts those that fit equally well. */
export interface Candidate { readonly name: string; readonly kind: string; readonly order: string }

/** Candidates among the compiler's entries, and the span of a string literal that they would replace. */
export function candidatesOf(found: typescript.CompletionInfo | undefined, offset: number): { candidates: Candidate[]; span: { start: number; end: number } | null } {
  const entries = (found?.entries ?? []).filter(({ kind }) => kind !== 'warning')
  const span = entries.find((entry) => entry.replacementSpan)?.replacementSpan
  return {
    candidates: entries.map(({ name, kind, sortText }) => ({ name, kind, order: sortText })),
    span: span ? { start: span.start - offset, end: span.start - offset + span.length } : null,
  }
}

/** Answer of a kernel, best first. `position` counts code points, as Jupyter does; `span` is the UTF-16 range replaced, the word at the cursor unless said. */
export function completionReply(code: string, position: number, candidates: readonly Candidate[], span: { start: number; end: number } | null): CompletionReply {
  const at = fromCodePoints(code, position)
  const { start, end } = span ?? wordAround(code, at)
  const typed = code.slice(start, at)
  const ranked = candidates.flatMap((candidate) => {
    const rank = fit(candidate.name, typed)
    return rank === null ? [] : [{ ...candidate, rank }]
  })
  ranked.sort((a, b) => a.rank - b.rank || compare(a.order, b.order) || compare(a.name, b.name))
  const [from, to] = [toCodePoints(code, start), toCodePoints(code, end)]
  const matches = [...new Map(ranked.map(({ name, kind }) => [name, types[kind] ?? kind]))]
  return {
    matches: matches.map(([name]) => name), cursor_start: from, cursor_end: to,
    metadata: { _jupyter_types_experimental: matches.map(([text, type]) => ({ start: from, end: to, text, type })) },
  }
}

function compare(a: string, b: string): number { return a < b ? -1 : a > b ? 1 : 0 }
