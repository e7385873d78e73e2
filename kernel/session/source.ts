import Module from 'node:module'
import type * as typescript from '@tslab/typescript-for-tslab'

const ts = Module.createRequire(require.resolve('tslab/package.json'))('@tslab/typescript-for-tslab') as typeof typescript

/** What is put into a cell: the text, and where. `name` is the length of the cell's own text before it that it repeats. */
interface Insertion { readonly at: number; readonly text: string; readonly name: number }

/** What tslab needs to be told of a cell, in the order of the text. */
function insertions(code: string): Insertion[] {
  const file = ts.createSourceFile('cell.ts', code, ts.ScriptTarget.Latest)
  const found: Insertion[] = []
  let waits = false
  const visit = (node: typescript.Node, nested: boolean): void => {
    if (ts.isShorthandPropertyAssignment(node)) found.push({ at: node.name.end, text: `: ${node.name.text}`, name: node.name.text.length })
    if (ts.isForOfStatement(node) && node.awaitModifier !== undefined && !nested) waits = true
    const inner = nested || ts.isFunctionLike(node) || ts.isClassLike(node)
    ts.forEachChild(node, (child) => visit(child, inner))
  }
  visit(file, false)
  const [first] = file.statements
  if (waits) found.unshift({ at: first.getStart(file), text: 'await null; ', name: 0 })
  return found
}

/**
 * Writes a cell so that tslab runs it as it is meant. Lines stay as they are; only columns behind what is put in move.
 * - `{ name }` becomes `{ name: name }`. tslab turns the names of earlier cells into properties of its exports, but takes the
 *   name in a shorthand for a property of the new object and leaves it: `name is not defined` when the cell runs.
 * - A cell with `for await` gets an `await` before it: tslab runs a cell as a module that waits only where it sees one.
 */
export function runnable(code: string): string {
  return insertions(code).reverse().reduce((text, { at, text: added }) => `${text.slice(0, at)}${added}${text.slice(at)}`, code)
}

/** The column of the cell itself for one of its runnable form (both 0-based). */
export function columnBefore(code: string, line: number, column: number): number {
  const start = code.split('\n').slice(0, line).reduce((sum, text) => sum + text.length + 1, 0)
  let moved = 0
  for (const { at, text, name } of insertions(code)) {
    const end = at - start
    if (end < 0 || end + moved > column) continue
    // Inside of what was put there: what it repeats is meant.
    if (column < end + moved + text.length) return end - name
    moved += text.length
  }
  return column - moved
}
