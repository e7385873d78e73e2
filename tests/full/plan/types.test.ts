import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import type * as TypeScript from 'typescript'
import { repoRoot } from '../../support/paths'

const ts = require(path.join(repoRoot, 'node_modules', 'typescript-5.0')) as typeof TypeScript

/** Compiles one file as tslab does, and gives `line: message` for each error. */
function errorsOf(name: string, skipLibCheck = true): { line: number; message: string }[] {
  const file = path.join(repoRoot, 'tests', 'types', name)
  const program = ts.createProgram([file], {
    noEmit: true, strict: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, moduleResolution: ts.ModuleResolutionKind.NodeJs,
    esModuleInterop: true, skipLibCheck, types: ['node'], typeRoots: [path.join(repoRoot, 'node_modules', '@types')],
  })
  return ts.getPreEmitDiagnostics(program).map((diagnostic) => ({
    line: diagnostic.file ? diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start!).line + 1 : 0,
    message: `${diagnostic.file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ')}`,
  }))
}

test('the public types read under TypeScript 5.0.4 with Node10 resolution', () => {
  assert.equal(ts.version, '5.0.4')
  assert.deepEqual(errorsOf('right.ts'), [])
})

test('no declaration of ours needs a newer TypeScript', () => {
  const ours = path.join(repoRoot, 'sdk', 'dist')
  assert.deepEqual(errorsOf('right.ts', false).map(({ message }) => message).filter((message) => message.startsWith(ours)), [])
})

test('the types refuse what the builders refuse', () => {
  const source = fs.readFileSync(path.join(repoRoot, 'tests', 'types', 'wrong.ts'), 'utf8').split('\n')
  const marked = source.flatMap((line, index) => (line.endsWith('// error') ? [index + 1] : []))
  assert.deepEqual([...new Set(errorsOf('wrong.ts').map(({ line }) => line))], marked)
})
