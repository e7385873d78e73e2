import Module from 'node:module'
import type * as typescript from '@tslab/typescript-for-tslab'

const ts = Module.createRequire(require.resolve('tslab/package.json'))('@tslab/typescript-for-tslab') as typeof typescript

/**
 * Writes `{ name }` as `{ name: name }`. tslab turns the names of earlier cells into properties of its exports, but takes
 * the name in a shorthand for a property of the new object and leaves it: `name is not defined` when the cell runs.
 * Lines stay as they are; only columns behind a shorthand move.
 */
export function expandShorthands(code: string): string {
  const file = ts.createSourceFile('cell.ts', code, ts.ScriptTarget.Latest)
  const ends: { at: number; name: string }[] = []
  const visit = (node: typescript.Node): void => {
    if (ts.isShorthandPropertyAssignment(node)) ends.push({ at: node.name.end, name: node.name.text })
    ts.forEachChild(node, visit)
  }
  visit(file)
  return ends.reverse().reduce((text, { at, name }) => `${text.slice(0, at)}: ${name}${text.slice(at)}`, code)
}
