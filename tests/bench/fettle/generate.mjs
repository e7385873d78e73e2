// Fettle's side of the bench in generation: greedy continuation of prompts of one length, the decoder that answers in a run.
//   node generate.mjs MODEL ROWS --batch N --prompt TOKENS --new TOKENS --steps N --seconds S [--dtype bf16|fp32] [--form best|plain] [--threads N]
import { createRequire } from 'node:module'
import { data, loadDecoder, native, options, tell, tellEnd } from './common.mjs'

const { generate } = createRequire(import.meta.url)('fettle/dist/train/generate')
const decoder = loadDecoder(), { batch, prompt, fresh } = options
const ids = data.rows.flatMap((row) => row.ids), prompts = Array.from({ length: batch }, (_, i) => ids.slice(i * prompt, (i + 1) * prompt)), begun = performance.now()
for (let step = 0; step < options.steps && (step < 2 || performance.now() - begun < options.limit); step++) {
  const faults = native.pageFaults().minor, start = performance.now()
  let first = NaN
  const found = generate(decoder, prompts, { maxNewTokens: fresh, stopIds: [] }, () => { if (Number.isNaN(first)) first = (performance.now() - start) / 1000 })
  tell({ step: step + 1, tokens: found.reduce((sum, row) => sum + row.length, 0), seconds: (performance.now() - start) / 1000, firstToken: first, ids: found.map((row) => row.slice(0, 16)), faults: native.pageFaults().minor - faults })
}
tellEnd(decoder)
