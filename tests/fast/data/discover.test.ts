import * as assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { discoverData, requireSplit } from 'fettle/dist/data/discover'
import { temporaryFolder } from '../../support/tiny'

test('files of a data set: single files first, then folders in the order of their names, or one file', t => {
  const folder = temporaryFolder(t)
  const put = (name: string): string => {
    const file = path.join(folder, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, '{"src": "a", "tgt": "b"}\n')
    return file
  }
  const parts = [put('train/a.json'), put('train/b.jsonl')]
  put('train/notes.txt')
  const dev = put('dev.jsonl')
  assert.deepEqual(discoverData(folder), { train: parts, dev: [dev], test: null })
  const train = put('train.json')
  assert.deepEqual(discoverData(folder).train, [train])
  assert.deepEqual(discoverData(train), { train: [train], dev: null, test: null })
  put('train.jsonl')
  assert.throws(() => discoverData(folder), { code: 'data.ambiguous', message: /both train\.json and train\.jsonl/ })
})

test('what is missing is told with what was looked for', t => {
  const folder = temporaryFolder(t)
  assert.throws(() => discoverData(path.join(folder, 'none')), { code: 'data.not-found', message: /does not exist; give a folder with train\.json/ })
  assert.throws(() => discoverData(folder), { code: 'data.not-found', message: /looked for train\.json, train\.jsonl, train\/\*\.json, .*; found nothing/ })
  fs.writeFileSync(path.join(folder, 'dev.json'), '')
  assert.throws(() => requireSplit(folder, discoverData(folder), 'train'), { code: 'data.not-found', message: /has no train data .*found dev\.json/ })
})
