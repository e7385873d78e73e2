// Memory of a streamed run: `node tests/bench/stream-memory.mjs FOLDER [steps]`, where FOLDER holds a train.json of any
// size. Trains the tiny model of the tests and prints resident memory of the worker, and of the process that reads,
// at ten places of the run. Build first (npm run setup); set OMP_NUM_THREADS to share the machine.
import { createRequire } from 'node:module'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { sft } = require('fettle'), { tinyModel } = require('../dist/support/tiny.js')
const [folder, count = '2000'] = process.argv.slice(2), steps = Number(count)
if (folder === undefined) throw new Error('usage: node tests/bench/stream-memory.mjs FOLDER [steps]')

/** Resident MiB of the processes that `pid` started. */
function children(pid) {
  const stats = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try { return [readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')] } catch { return [] }
  })
  return stats.filter((fields) => Number(fields[1]) === pid).reduce((sum, fields) => sum + (Number(fields[21]) * 4096) / 2 ** 20, 0)
}

const place = mkdtempSync(join(tmpdir(), 'fettle-stream-'))
try {
  const run = await sft(tinyModel(join(place, 'model'))).data(folder, { lazy: true, maxLength: 256, srcLength: 128, template: 'none' })
    .batch(8).steps(steps).output(join(place, 'out')).save({ each: 'never' }).device('cpu').start()
  console.log(`${(statSync(join(folder, 'train.json')).size / 2 ** 30).toFixed(2)} GiB of rows, ${steps} steps of 8`)
  let pid = 0
  for await (const event of run) {
    if (event.type === 'started') pid = event.pid
    if (event.type === 'step' && (event.step === 1 || event.step % Math.ceil(steps / 10) === 0)) console.log(`step ${event.step}: worker ${event.memory.toFixed(0)} MiB, reader ${children(pid).toFixed(0)} MiB`)
    if (event.type === 'failed') throw new Error(event.error.message)
    if (event.type === 'done') break
  }
  await run.close()
} finally {
  rmSync(place, { recursive: true, force: true })
}
