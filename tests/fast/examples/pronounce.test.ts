import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { examples } from 'fettle'
import { temporaryFolder } from '../../support/tiny'

test('the same options give the same split, and no held-out word is near a training word', async (t) => {
  const [a, b] = [temporaryFolder(t), temporaryFolder(t)]
  const task = await examples.pronunciations(a, { train: 500, heldOut: 20 })
  await examples.pronunciations(b, { train: 500, heldOut: 20 })
  const read = (folder: string, name: string) => fs.readFileSync(path.join(folder, name), 'utf8')
  for (const name of ['train.json', 'dev.json']) assert.equal(read(a, name), read(b, name))
  const rows = read(a, 'train.json').trim().split('\n').map((line) => JSON.parse(line) as { src: string; tgt: string })
  assert.deepEqual([rows.length, task.heldOut.length], [500, 20])
  const stems = new Set(task.heldOut.map(({ word }) => word.slice(0, 5)))
  assert.ok(rows.every(({ src }) => !stems.has(src.replace(/[ =]/g, '').slice(0, 5))))
  assert.ok(rows.every(({ src, tgt }) => /^([a-z] ){3,8}=$/.test(src) && /^( [A-Z]{1,2})+$/.test(tgt)))
  const other = await examples.pronunciations(temporaryFolder(t), { train: 5, heldOut: 5, seed: 2 })
  assert.notDeepEqual(other.heldOut.map(({ word }) => word), task.heldOut.slice(0, 5).map(({ word }) => word))
})

test('edit distance and scores', () => {
  const d = (a: string, b: string) => examples.editDistance(a.split(''), b.split(''))
  assert.deepEqual([d('kitten', 'sitting'), d('abc', 'abc'), d('abc', '')], [3, 0, 3])
  const score = examples.scorePronunciations([
    { answer: ' K AE B AH JH', reference: 'K AE B AH JH' },
    { answer: 'K AE', reference: 'K AE T' },
    // A rambling answer counts as all wrong, not as more.
    { answer: 'It is said as follows, I would think', reference: 'D AO G' },
  ])
  assert.deepEqual(score, { exact: 1 / 3, phonemeErrorRate: 4 / 11 })
})
