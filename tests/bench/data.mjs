// Preparation of data, measured: `node tests/bench/data.mjs [--mb 1000] [--rows chat|plain] [--runs 2]`. Tokenises and packs
// JSONL with Fettle and with datasets' map over transformers' fast tokenizer, in turn, each as a whole process on all cores
// without a cache, then each again with its cache. Rows, ids, labels and packs are checked to be equal. Set up first (npm run
// setup); the rows, the peer's private Python environment (pinned; FETTLE_DATA_PEER names another) and the caches are kept
// under .fettle/bench-data, or under the folder of --home.
import { createRequire } from 'node:module'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { machine, otherLoad } from './machine.mjs'
import { makeRows, megabytesOf } from './data/rows.mjs'
import { runSide } from './data/sides.mjs'
import { environment } from './peers/environment.mjs'

const require = createRequire(import.meta.url), here = fileURLToPath(new URL('.', import.meta.url)), maxLength = 2048
const { values } = parseArgs({ options: { mb: { type: 'string', default: '1000' }, rows: { type: 'string', default: 'chat' }, runs: { type: 'string', default: '2' }, home: { type: 'string', default: join(here, '..', '..', '.fettle', 'bench-data') } } })
const home = values.home, template = values.rows === 'chat' ? 'auto' : 'none'
const packages = ['transformers==5.23.0', 'tokenizers==0.23.3', 'datasets==5.2.0', 'jinja2==3.1.6', 'numpy']

/** The built-in model's file, and a folder with its tokenizer as transformers reads it. */
async function tokenizers() {
  const { resolveModel } = require('fettle/dist/models/hub/resolve'), { readGguf } = require('fettle/dist/models/weights/gguf-metadata')
  const { ggufTokenizer } = require('fettle/dist/models/weights/gguf-config'), { specFromGguf } = require('fettle/dist/tokenizers')
  const file = await resolveModel('builtin:smollm2-135m'), { json, chatTemplate, specialTexts } = specFromGguf(ggufTokenizer(readGguf(file))), folder = join(home, 'tokenizer')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json))
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ ...specialTexts, chat_template: chatTemplate }))
  return { file, folder }
}

const { cores, cpu, memoryGiB } = machine(), load = await otherLoad()
mkdirSync(home, { recursive: true })
const model = await tokenizers(), python = process.env.FETTLE_DATA_PEER ?? environment(join(home, 'peer'), packages, null, 'FETTLE_DATA_PEER'), file = makeRows(home, values.rows, Number(values.mb)), megabytes = megabytesOf(file)
const caches = { fettle: join(home, 'cache-fettle'), peer: join(home, 'cache-peer') }
const run = (side, digest) => side === 'fettle'
  ? runSide(process.execPath, [join(here, 'data', 'fettle.mjs'), file, model.file, caches.fettle, template, maxLength], { digest })
  : runSide(python, [join(here, 'data', 'peer.py'), file, model.folder, caches.peer, template, maxLength, cores], { digest, env: { HF_HUB_OFFLINE: '1', TOKENIZERS_PARALLELISM: 'false', HF_HOME: caches.peer, HF_DATASETS_DISABLE_PROGRESS_BARS: '1' } })

const seen = { fettle: [], peer: [] }
for (let i = 0; i < Number(values.runs); i++) {
  for (const side of ['fettle', 'peer']) {
    rmSync(caches[side], { recursive: true, force: true })
    const cold = await run(side, i === 0), warm = await run(side, false)
    seen[side].push({ ...cold, again: warm.seconds })
    process.stderr.write(`  ${side} ${i + 1}: ${cold.seconds.toFixed(1)} s, ${(megabytes / cold.seconds).toFixed(2)} MB/s, ${Math.round(cold.peak)} MiB; again ${warm.seconds.toFixed(2)} s\n`)
  }
}
const same = (name) => JSON.stringify(seen.fettle[0][name]) === JSON.stringify(seen.peer[0][name])
for (const name of ['rows', 'tokens', 'packs', 'digest']) if (!same(name)) throw new Error(`the sides differ in ${name}: ${JSON.stringify(seen.fettle[0][name])} and ${JSON.stringify(seen.peer[0][name])}`)

const [{ rows, tokens, packs }] = seen.fettle, best = (side, name) => Math.min(...seen[side].map((one) => one[name])), spread = (side, text) => seen[side].map(text).join(', ')
console.log(`${cores} × ${cpu}, ${memoryGiB} GiB${load.share > 0.05 ? `; other work took ${Math.round(100 * load.share)}% of the cores` : ''}. ${megabytes.toFixed(0)} MB, ${rows.toLocaleString('en')} ${values.rows} rows, ${tokens.toLocaleString('en')} tokens in ${packs.toLocaleString('en')} packs: the same ids, labels and packs on both sides.\n`)
console.log('| | MB/s, each run | MB for each second of CPU | peak memory (MiB) | second start (s) |\n|---|---|---|---|---|')
for (const [side, name] of [['fettle', 'Fettle'], ['peer', 'datasets + transformers']]) {
  console.log(`| ${name} | ${spread(side, ({ seconds }) => (megabytes / seconds).toFixed(2))} | ${spread(side, ({ cpu: taken }) => (megabytes / taken).toFixed(2))} | ${Math.round(Math.max(...seen[side].map(({ peak }) => peak)))} | ${spread(side, ({ again }) => again.toFixed(2))} |`)
}
console.log(`\nRatio of the rates: ${seen.fettle.map(({ seconds }, i) => (seen.peer[i].seconds / seconds).toFixed(2)).join(', ')}; of the best runs ${(best('peer', 'seconds') / best('fettle', 'seconds')).toFixed(2)}`)
