// Fettle as a user meets it: a run of the SDK in its own worker, from text. Tells its steps, and the seconds from `.start()` to the
// first step's event.
//   node run.mjs MODEL TEXT_FOLDER --case lora|full|prefix --steps N --batch ROWS [--dtype bf16|fp32] [--threads N]
import { createRequire } from 'node:module'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { peakOf } from './peak.mjs'

const require = createRequire(import.meta.url), { sft } = require('fettle'), { reviveError } = require('fettle/dist/errors')
const text = (fallback) => ({ type: 'string', default: fallback })
const { values, positionals: [model, folder] } = parseArgs({ allowPositionals: true, options: { case: text('lora'), steps: text('3'), batch: text('8'), dtype: text('bf16'), threads: text('2') } })

function planned(output) {
  const data = sft(model).data(folder, { template: 'none', srcLength: 2048, maxLength: 4100 }).batch(Number(values.batch)).steps(Number(values.steps)).output(output)
    .device('cpu').threads(Number(values.threads)).save({ each: 'never' }).progress(false)
  const typed = values.dtype === 'bf16' ? data.bf16() : data.fp32()
  return values.case === 'lora' ? typed.lora({ rank: 8 }) : values.case === 'prefix' ? typed.prefix() : typed
}

const place = mkdtempSync(join(tmpdir(), 'fettle-bench-'))
try {
  const builder = planned(join(place, 'out')), started = performance.now(), run = await builder.start()
  let peak = 0
  for await (const event of run) {
    if (event.type === 'step') {
      if (event.step === 1) console.log(JSON.stringify({ startToFirstStep: (performance.now() - started) / 1000 }))
      peak = peakOf(run.pid)
      console.log(JSON.stringify({ step: event.step, tokens: event.tokens, supervised: event.supervised, seconds: event.ms / 1000, loss: event.loss, faults: event.faults }))
    }
    if (event.type === 'failed') throw reviveError(event.error)
    if (event.type === 'done') break
  }
  await run.close()
  console.log(JSON.stringify({ peakMiB: peak, frontMiB: peakOf('self'), form: `${values.dtype}, a run of the SDK from text` }))
} finally {
  rmSync(place, { recursive: true, force: true })
}
