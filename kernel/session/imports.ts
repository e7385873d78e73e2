import { existsSync, readFileSync } from 'node:fs'
import { builtinModules, createRequire } from 'node:module'
import path from 'node:path'
import type * as typescript from '@tslab/typescript-for-tslab'
import { compiler as ts } from './compiler'

/** The text of an import's module name, where `at` is inside one; the compiler's own answer needs a host that tslab has not. */
export function moduleNameAt(code: string, at: number): { start: number; end: number } | null {
  const source = ts.createSourceFile('cell.ts', code, ts.ScriptTarget.Latest, true)
  const find = (node: typescript.Node): typescript.StringLiteral | undefined => {
    if (ts.isStringLiteral(node) && node.getStart(source) < at && at <= node.end && namesModule(node)) return node
    return ts.forEachChild(node, find)
  }
  const literal = find(source)
  if (!literal) return null
  const quote = code[literal.getStart(source)]
  const closed = literal.end - literal.getStart(source) > 1 && code[literal.end - 1] === quote
  if (closed && at === literal.end) return null
  return { start: literal.getStart(source) + 1, end: closed ? literal.end - 1 : literal.end }
}

function namesModule(literal: typescript.StringLiteral): boolean {
  const { parent } = literal
  if (ts.isImportDeclaration(parent) || ts.isExportDeclaration(parent)) return true
  return ts.isCallExpression(parent) && (parent.expression.kind === ts.SyntaxKind.ImportKeyword || parent.expression.getText() === 'require')
}

/** What a cell can import by name: Fettle and what it brings, what the notebook's folder depends on, and Node's own modules. */
export function importableModules(folder: string): string[] {
  const fettle = createRequire(__filename).resolve('fettle')
  const names = ['fettle', ...dependenciesNear(path.dirname(fettle)), ...dependenciesNear(folder)]
  return [...new Set([...names.sort(), ...builtinModules.filter((name) => !name.startsWith('_')).map((name) => `node:${name}`)])]
}

/** Dependencies in the nearest package.json above a folder. */
function dependenciesNear(folder: string): string[] {
  const file = path.join(folder, 'package.json')
  if (!existsSync(file)) return path.dirname(folder) === folder ? [] : dependenciesNear(path.dirname(folder))
  const { dependencies = {} } = JSON.parse(readFileSync(file, 'utf8')) as { dependencies?: Record<string, string> }
  return Object.keys(dependencies)
}
