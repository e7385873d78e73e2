import { nearest } from 'fettle/dist/plan/refuse'

/** A finding of the compiler on a text where only certain texts fit. */
const literal = /^(?:Argument of type|Type) '"(.*?)"' is not assignable to (?:parameter of )?type '((?:.* \| )?".*".*)'\.$/

/** Names the text that was probably meant, where the compiler lists those that fit and leaves the choice to the reader. */
export function withSuggestion(finding: string): string {
  const [, written, fitting] = literal.exec(finding) ?? []
  if (written === undefined) return finding
  const best = nearest(written, [...fitting.matchAll(/"([^"]*)"/g)].map(([, text]) => text))
  return best === null ? finding : `${finding} Did you mean '${best}'?`
}
