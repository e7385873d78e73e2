import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { runNotebook } from 'fettle-kernel'
import { families } from 'fettle/dist/models/families'
import { repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'

interface Trained { readonly name: string; readonly method: string; readonly parameters: number; readonly losses: readonly number[]; readonly answer: string }

test('the notebook of families trains a tiny model of each, all weights and an adapter', async (t) => {
  const folder = temporaryFolder(t), output = path.join(folder, 'families.ipynb'), steps = 30
  await runNotebook(path.join(repoRoot, 'notebooks', 'families.ipynb'), { output, parameters: { folder, steps } })
  const { trained } = JSON.parse(fs.readFileSync(path.join(folder, 'summary.json'), 'utf8')) as { trained: Trained[] }
  assert.deepEqual(trained.map(({ name }) => name).filter((_, i) => i % 2 === 0).sort(), families.map(({ name }) => name).sort())
  for (const { name, method, parameters, losses } of trained) {
    assert.equal(losses.length, steps, name)
    assert.ok(parameters > 1000, name)
    assert.ok(losses.at(-1)! < 0.75 * losses[0], `${name}, ${method}: ${losses[0]} → ${losses.at(-1)}`)
  }
  assert.ok(trained.filter(({ answer }) => answer === 'meow').length >= 8, JSON.stringify(trained.map(({ answer }) => answer)))
  assert.ok(fs.statSync(output).size < 2e6)
  const { cells } = JSON.parse(fs.readFileSync(output, 'utf8')) as { cells: { outputs?: { output_type: string }[] }[] }
  assert.ok(!cells.flatMap(({ outputs = [] }) => outputs).some(({ output_type: type }) => type === 'error'))
})
