import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { operator, ops } from 'fettle-native'
import { native } from 'fettle-native/dist/library'
import { repoRoot } from '../../support/paths'

interface Shape {
  parameters: string[]
  returns: number
}

/** Parameter types and names, and the number of results, of a schema string; defaults may differ between versions. */
function shapeOf(schema: string): Shape {
  const open = schema.indexOf('(')
  const arrow = schema.lastIndexOf(') -> ')
  const list = (text: string): string[] => text.match(/(?:\([^)]*\)|\[[^\]]*\]|[^,([])+/g)?.map((part) => part.trim()).filter(Boolean) ?? []
  const parameters = list(schema.slice(open + 1, arrow)).filter((part) => part !== '*').map((part) => part.replace(/=.*$/, ''))
  const tail = schema.slice(arrow + 5)
  return { parameters, returns: tail === '()' ? 0 : tail.startsWith('(') && !/^\([a-z]!?\)/.test(tail) ? list(tail.slice(1, -1)).length : 1 }
}

test('every typed wrapper agrees with the schema of this libtorch', () => {
  const drifted: string[] = []
  for (const [name, wrapper] of Object.entries(ops))
    for (const schema of wrapper.schemas) {
      const [full, overload] = schema.slice(0, schema.indexOf('(')).split('.')
      const there = operator(full, overload ?? '').schema
      try {
        assert.deepEqual(shapeOf(schema), shapeOf(there))
      } catch {
        drifted.push(`${name}\n  wrapper:  ${schema}\n  libtorch: ${there}`)
      }
    }
  assert.deepEqual(drifted, [])
  assert.ok(Object.keys(ops).length > 300)
})

test('the schema reader sees what matters', () => {
  const schema = 'aten::f.x(Tensor(a!) self, int[2] k=[1, 1], *, Scalar? s=None) -> (Tensor, Tensor)'
  assert.deepEqual(shapeOf(schema), { parameters: ['Tensor(a!) self', 'int[2] k', 'Scalar? s'], returns: 2 })
})

test('the functions of the addon and the interface Engine are the same', () => {
  const source = readFileSync(join(repoRoot, 'native', 'engine.ts'), 'utf8')
  const body = source.slice(source.indexOf('export interface Engine'))
  const declared = [...body.matchAll(/^ {2}(\w+)\(/gm)].map((m) => m[1]).sort()
  assert.deepEqual(Object.keys(native()).sort(), declared)
})

test('every defined kernel resolves', () => {
  const folder = join(repoRoot, 'native', 'kernels')
  for (const name of readdirSync(folder).filter((n) => n.endsWith('.cc')))
    for (const [, schema] of readFileSync(join(folder, name), 'utf8').matchAll(/m(?:odule)?\.def\(\s*"(\w+)\(/g)) assert.ok(operator(`fettle::${schema}`).schema)
})
