// Fettle's side of the data bench: prepares a file, packs its rows, says so, and then hashes all ids and labels.
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url), [file, model, cache, template, maxLength] = process.argv.slice(2)
const { openRows, Packs, prepare } = require('fettle/dist/data'), { defaultPlan } = require('fettle/dist/plan/defaults')

const { train } = await prepare({ ...defaultPlan('').data, path: file, template, maxLength: Number(maxLength) }, model, { cache })
const rows = openRows(train), packs = Packs.greedy(rows.rows, (row) => rows.length(row), Number(maxLength))
console.log(JSON.stringify({ rows: rows.rows, tokens: train.tokens, truncated: train.truncated, packs: packs.count }))
if (process.env.DIGEST) {
  const ids = createHash('sha256'), labels = createHash('sha256')
  for (let row = 0; row < rows.rows; row++) {
    const { inputIds, labels: own } = rows.row(row)
    ids.update(inputIds)
    labels.update(own)
  }
  console.log(JSON.stringify({ digest: [ids.digest('hex'), labels.digest('hex')] }))
}
