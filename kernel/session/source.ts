import Module from 'node:module'
import type * as typescript from '@tslab/typescript-for-tslab'

const ts = Module.createRequire(require.resolve('tslab/package.json'))('@tslab/typescript-for-tslab') as typeof typescript

/** The shorthand properties of a cell: where each ends, and its name. */
function shorthands(code: string): { at: number; name: string }[] {
  const file = ts.createSourceFile('cell.ts', code, ts.ScriptTarget.Latest)
  const ends: { at: number; name: string }[] = []
  const visit = (node: typescript.Node): void => {
    if (ts.isShorthandPropertyAssignment(node)) ends.push({ at: node.name.end, name: node.name.text })
    ts.forEachChild(node, visit)
  }
  visit(file)
  return ends
}

/**
 * Writes `{ name }` as `{ name: name }`. tslab turns the names of earlier cells into properties of its exports, but takes
 * the name in a shorthand for a property of the new object and leaves it: `name is not defined` when the cell runs.
 * Lines stay as they are; only columns behind a shorthand move.
 */
export function expandShorthands(code: string): string {
  return shorthands(code).reverse().reduce((text, { at, name }) => `${text.slice(0, at)}: ${name}${text.slice(at)}`, code)
}

/** The column of the cell itself for one of its expanded form (both 0-based). */
export function columnBefore(code: string, line: number, column: number): number {
  const start = code.split('\n').slice(0, line).reduce((sum, text) => sum + text.length + 1, 0)
  let moved = 0
  for (const { at, name } of shorthands(code)) {
    const end = at - start
    if (end < 0 || end + moved > column) continue
    // Inside of what was put there: the name itself is meant.
    if (column < end + moved + name.length + 2) return end - name.length
    moved += name.length + 2
  }
  return column - moved
}
