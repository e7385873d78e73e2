// Memory of a run that streams the whole of a large file: `node tests/bench/lazy.mjs [GB] [folder]` (5.1 GB, the system's
// temporary folder). Writes train.json, trains the tiny model of the tests on every row of it, prints resident memory of the
// worker and of the process that reads, by quarter of the file, and deletes the file. Build first (npm run setup).
//
// A row has about 32 kB: a source and a target of 1.2 kB together, which are tokenised, and a field of 30 kB that is read and
// passed over, so that all of the file is read and parsed within minutes.
import { createRequire } from 'node:module'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const { sft } = require('fettle'), { tinyModel } = require('../dist/support/tiny.js')
const { positionals: [gigabytes = '5.1', home = tmpdir()] } = parseArgs({ allowPositionals: true })
const bytes = Number(gigabytes) * 1e9, batch = 256, varied = 1024, quarters = 4

/** A text of `length` characters that differs from row to row. */
function textOf(row, length) {
  let text = ''
  for (let word = row * 7919; text.length < length; word = (word * 1103515245 + 12345) >>> 0) text += `${word.toString(36).slice(0, 2 + (word % 6))} `
  return text.slice(0, length)
}

/** Rows of different lengths around 32 kB, again and again until the file is as large as asked. Gives their number. */
function writeRows(file) {
  const lines = Array.from({ length: varied }, (_, row) => `${JSON.stringify({ src: textOf(row, 100 + (row % 97)), tgt: textOf(row + 1, 900 + (row % 389)), page: textOf(row + 2, 30_000 + (row % 1021)) })}\n`)
  const block = Buffer.from(lines.join('')), whole = Math.ceil(bytes / block.length), fd = openSync(file, 'w')
  try { for (let i = 0; i < whole; i++) for (let at = 0; at < block.length;) at += writeSync(fd, block, at) } finally { closeSync(fd) }
  return { rows: whole * varied, size: whole * block.length }
}

/** Resident MiB of the processes that `pid` started. */
function children(pid) {
  const stats = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try { return [readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')] } catch { return [] }
  })
  return stats.filter((fields) => Number(fields[1]) === pid).reduce((sum, fields) => sum + (Number(fields[21]) * 4096) / 2 ** 20, 0)
}

const { bavail, bsize } = statfsSync(home)
if (bavail * bsize < bytes + 5e9) throw new Error(`expected ${((bytes + 5e9) / 1e9).toFixed(0)} GB of free disk in ${home}, found ${((bavail * bsize) / 1e9).toFixed(0)}; give another folder`)
const place = mkdtempSync(join(home, 'fettle-lazy-'))
try {
  const data = join(place, 'data')
  mkdirSync(data)
  const { rows, size } = writeRows(join(data, 'train.json')), steps = Math.floor(rows / batch)
  const run = await sft(tinyModel(join(place, 'model'))).data(data, { lazy: true, maxLength: 8, srcLength: 4, template: 'none' })
    .batch(batch).steps(steps).output(join(place, 'out')).save({ each: 'never' }).device('cpu').start()
  const seen = Array.from({ length: quarters }, () => ({ worker: [], reader: [] }))
  let pid = 0, began = 0
  for await (const event of run) {
    if (event.type === 'started') [pid, began] = [event.pid, performance.now()]
    if (event.type === 'failed') throw new Error(event.error.message)
    if (event.type === 'done') break
    if (event.type !== 'step') continue
    const { worker, reader } = seen[Math.min(quarters - 1, Math.floor((event.step - 1) / (steps / quarters)))]
    worker.push(event.memory)
    if (event.step % 10 === 0) reader.push(children(pid))
  }
  const seconds = (performance.now() - began) / 1000, range = (values) => `${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)}`
  console.log(`${cpus().length} × ${cpus()[0].model}; ${(size / 1e9).toFixed(2)} GB, ${rows.toLocaleString('en')} rows, ${steps} steps of ${batch}, ${seconds.toFixed(0)} s\n`)
  console.log('| quarter of the file | worker (MiB) | the process that reads (MiB) |\n|---|---|---|')
  seen.forEach(({ worker, reader }, i) => console.log(`| ${['first', 'second', 'third', 'last'][i]} | ${range(worker)} | ${range(reader)} |`))
  await run.close()
} finally {
  rmSync(place, { recursive: true, force: true })
}
