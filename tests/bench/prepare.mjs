// What every run of the bench starts from, made once: the model as a Hugging Face folder in bf16, the rows as token
// ids, and one freshly initialised LoRA adapter. All sides read these files.
import { createRequire } from 'node:module'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dictionary } from 'cmu-pronouncing-dictionary'

const require = createRequire(import.meta.url)
const version = 3

/** A generator of uniform numbers in [0, 1) (mulberry32): rows are the same on every machine. */
function uniform(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function shuffle(items, random) {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[items[i], items[j]] = [items[j], items[i]]
  }
  return items
}

/**
 * Lengths in tokens, by the law of the case:
 * `heavy`: log-normal, median 45, σ 1.07, so a mean of about 80; none below 8; the longest is 1,000.
 * `short`: normal, mean 18, deviation 4, none below 8.
 */
function lengths(count, law, random) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const draw = law === 'short' ? () => 18 + 4 * normal() : () => 45 * Math.exp(1.07 * normal())
  const drawn = Array.from({ length: count }, () => Math.min(1000, Math.max(8, Math.round(draw()))))
  if (law === 'heavy') drawn[drawn.indexOf(Math.max(...drawn))] = 1000
  return drawn
}

/** Rows of dictionary lines (`word P R O N`), each cut to its length; the second half of a row is supervised. */
async function rowsOf(tokenizer, count, law, batch) {
  const random = uniform(20), words = shuffle(Object.keys(dictionary).sort(), random)
  let next = 0
  const rows = []
  for (const length of lengths(count, law, random)) {
    let ids = []
    while (ids.length < length) {
      const lines = Array.from({ length: 8 + length / 8 }, () => words[next++ % words.length]).map((word) => `${word} ${dictionary[word]}`)
      ids = ids.concat(await tokenizer.encode(`${lines.join('\n')}\n`))
    }
    rows.push({ ids: ids.slice(0, length), supervisedFrom: Math.floor(length / 2) })
  }
  return largestFirst(rows, batch)
}

/** Batches in the order drawn, but the one with most tokens first: all sides reach their largest memory in warm-up. */
function largestFirst(rows, batch) {
  const batches = Array.from({ length: Math.floor(rows.length / batch) }, (_, i) => rows.slice(i * batch, (i + 1) * batch))
  const size = (b) => b.reduce((sum, row) => sum + row.ids.length, 0)
  const largest = batches.reduce((best, b) => (size(b) > size(best) ? b : best))
  return [largest, ...batches.filter((b) => b !== largest)].flat()
}

async function writeModel(folder) {
  const { openWeights, resolveModel, writeSafetensors } = require('fettle/dist/models/weights')
  const { noGrad, scope } = require('fettle-native')
  const weights = openWeights(await resolveModel('builtin:smollm2-135m'))
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...weights.config, torch_dtype: 'bfloat16' }, null, 2))
  noGrad(() => scope(() => writeSafetensors(join(folder, 'model.safetensors'), new Map(weights.names().map((name) => [name, weights.read(name, { dtype: 'bfloat16' })])))))
  return weights.path
}

function writeAdapter(modelFolder, folder) {
  const { openWeights } = require('fettle/dist/models/weights')
  const { loadParameters } = require('fettle/dist/models/load')
  const { attachLora } = require('fettle/dist/adapters/lora')
  const { loraConfig } = require('fettle/dist/adapters/lora-config')
  const { saveLora } = require('fettle/dist/adapters/peft')
  const parameters = loadParameters(openWeights(modelFolder), { dtype: 'float32', device: 'cpu', train: false })
  saveLora(attachLora(parameters, loraConfig({ rank: 8, alpha: 16 }), { seed: 1 }), folder, null)
}

/** Returns the paths of `{ model, adapter, rows: { heavy, short } }` in `folder`, made there unless they stand already. */
export async function prepare(folder, { rows = 240, batch = 8 } = {}) {
  const paths = { model: join(folder, 'model'), adapter: join(folder, 'adapter'), rows: { heavy: join(folder, 'heavy.json'), short: join(folder, 'short.json') } }
  const stamp = join(folder, 'stamp.json'), wanted = JSON.stringify({ version, rows, batch })
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return paths
  rmSync(folder, { recursive: true, force: true })
  const source = await writeModel(paths.model)
  const { loadTokenizer } = require('fettle/dist/tokenizers')
  const tokenizer = loadTokenizer(source)
  for (const law of Object.keys(paths.rows)) writeFileSync(paths.rows[law], JSON.stringify({ batch, rows: await rowsOf(tokenizer, rows, law, batch) }))
  writeAdapter(paths.model, paths.adapter)
  writeFileSync(`${stamp}.tmp`, wanted)
  renameSync(`${stamp}.tmp`, stamp)
  return paths
}
