// What every run of the bench starts from, made once: models, rows as token ids and as text, freshly initialised adapters. All
// sides read these files.
import { createRequire } from 'node:module'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { writeModel } from './models.mjs'
import { rowsOf } from './rows.mjs'

const require = createRequire(import.meta.url)
/** Places before each row in prefix tuning: the default of `.prefix()`. */
export const prefixTokens = 128
/** Goes up with what is written here. */
const version = 'v4'

/** Makes `folder` whole or not at all. */
async function once(folder, make) {
  if (existsSync(folder)) return folder
  const work = `${folder}.tmp`
  rmSync(work, { recursive: true, force: true })
  mkdirSync(dirname(work), { recursive: true })
  await make(work)
  renameSync(work, folder)
  return folder
}

function writeAdapters(model, folder) {
  const { loadParameters } = require('fettle/dist/models/load'), { openWeights } = require('fettle/dist/models/weights')
  const { attachLora } = require('fettle/dist/adapters/lora'), { loraConfig } = require('fettle/dist/adapters/lora-config'), { saveLora } = require('fettle/dist/adapters/peft')
  const { attachPrefix } = require('fettle/dist/adapters/prefix'), { savePrefix } = require('fettle/dist/adapters/prefix-files')
  const load = () => loadParameters(openWeights(model), { dtype: 'float32', device: 'cpu', train: false })
  saveLora(attachLora(load(), loraConfig({ rank: 8, alpha: 16 }), { seed: 1 }), join(folder, 'lora'), null)
  const prefixed = load()
  savePrefix(attachPrefix(prefixed, { tokens: prefixTokens, hidden: null }, { seed: 1 }), prefixed, join(folder, 'prefix'), null)
}

async function writeRows(law, model, folder) {
  const tokenizer = require('fettle/dist/tokenizers').loadTokenizer(model), data = await rowsOf(law, tokenizer)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'rows.json'), JSON.stringify({ batch: data.batch, rows: data.rows.map(({ ids, supervisedFrom }) => ({ ids, supervisedFrom })) }))
  writeFileSync(join(folder, 'train.json'), data.rows.map(({ src, tgt }) => `${JSON.stringify({ src, tgt })}\n`).join(''))
}

/** Paths of a model, its adapters (`lora`, `prefix`) and rows of a law (`rows.json` of ids, `train.json` of text) in `home`, made there unless they stand already. */
export async function prepare(home, model, law) {
  const at = (...names) => join(home, version, ...names), make = (name, smollm2) => once(at('models', name), (folder) => writeModel(name, folder, smollm2))
  const smollm2 = await make('smollm2'), folder = model === 'smollm2' ? smollm2 : await make(model, smollm2)
  const adapters = await once(at('adapters', model), (to) => writeAdapters(folder, to))
  const rows = await once(at('rows', law), (to) => writeRows(law, smollm2, to))
  return { model: folder, lora: join(adapters, 'lora'), prefix: join(adapters, 'prefix'), rows: join(rows, 'rows.json'), text: rows }
}
