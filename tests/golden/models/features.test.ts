import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { scope, type Tensor } from 'fettle-native'
import { examples } from 'fettle'
import type { LoraAdapter } from 'fettle/dist/adapters/lora'
import { saveLora } from 'fettle/dist/adapters/peft'
import { mergeLora } from 'fettle/dist/export/merge'
import { packBatch, type Sequence } from 'fettle/dist/models/batch'
import { chooseBlocks } from 'fettle/dist/models/blocks/fused'
import { plainBlocks } from 'fettle/dist/models/blocks/plain'
import { Decoder } from 'fettle/dist/models/decoder'
import { families } from 'fettle/dist/models/families'
import { loadParameters } from 'fettle/dist/models/load'
import { openWeights } from 'fettle/dist/models/weights'
import { defaultLora, defaultPrefix } from 'fettle/dist/plan/defaults'
import type { LoraPlan, Plan } from 'fettle/dist/plan/plan'
import { generate } from 'fettle/dist/train/generate'
import { walk } from 'fettle/dist/train/walk'
import { largestDifference } from '../../support/golden'
import { repoRoot } from '../../support/paths'
import { temporaryFolder } from '../../support/tiny'
import { freeTrainer, memoryRows, tinyTrainer, trainerPlan } from '../../support/trainer'
import { greedyByWholePasses } from '../../support/whole-passes'

/** What a test of a feature gets: a tiny random model of the family, and a folder for what it writes. */
interface Subject { readonly model: string; readonly folder: string }

/** Rows of bytes between the special tokens that GLM's prompts need; other families read them as any token. */
const rows: Sequence[] = [9, 14, 11].map((length, row) => {
  const text = Array.from({ length }, (_, t) => 10 + ((7 * t + 13 * row) % 90))
  const inputIds = [...text.slice(0, 5), examples.tinyIds.gmask, examples.tinyIds.start, ...text.slice(5), examples.tinyIds.end]
  return { inputIds, labels: inputIds.map((id, t) => (t < 7 ? -100 : id)) }
})

function withDecoder<T>({ model }: Subject, form: 'plain' | 'fused', dtype: 'float32' | 'bfloat16', use: (decoder: Decoder) => T): T {
  const weights = openWeights(model), parameters = loadParameters(weights, { dtype, device: 'cpu', train: true })
  const decoder = new Decoder(parameters, form === 'plain' ? plainBlocks() : chooseBlocks({ device: 'cpu', dtype, blocks: 'auto' }))
  try { return scope(() => use(decoder)) } finally {
    decoder.free()
    parameters.free()
    weights.close()
  }
}

const lossOf = (decoder: Decoder, batch: readonly Sequence[]): number => walk(decoder, packBatch(batch, 'cpu', decoder.parameters.architecture.prompt), { scale: 0.01, training: true }).lossSum.item()

/** Trains for some steps: the loss must fall to a share of itself. Gives the trainer, which is the caller's to free. */
function trained({ model }: Subject, changes: Partial<Plan>, rate = 3e-2, share = 0.9) {
  const data = rows.map(({ inputIds, labels }) => ({ inputIds: Int32Array.from(inputIds), labels: Int32Array.from(labels!) }))
  const plan = trainerPlan({ batch: { size: 3, evalSize: 3, accumulate: 1, tokens: null }, steps: 10, ...changes })
  const optimizer = { ...plan.optimizer, learningRate: rate }
  const trainer = tinyTrainer({ ...plan, optimizer }, memoryRows(data), { model })
  const losses = Array.from({ length: 10 }, () => trainer.next().loss)
  assert.ok(losses[9] < share * losses[0], `loss went from ${losses[0]} to ${losses[9]}`)
  return trainer
}

const adapter = (own: Partial<LoraPlan> = {}) => (subject: Subject): void =>
  freeTrainer(trained(subject, { method: 'lora', lora: { ...defaultLora, ...own } }))

function merged(subject: Subject): void {
  const trainer = trained(subject, { method: 'lora', lora: defaultLora })
  const at = (name: string): string => path.join(subject.folder, name)
  const logits = (decoder: Decoder): Tensor => {
    const batch = packBatch(rows, 'cpu', decoder.parameters.architecture.prompt), context = decoder.context(batch, { mode: 'infer' })
    return decoder.headLogits(decoder.hidden(batch, context), context)
  }
  scope(() => {
    const expected = logits(trainer.parts.decoder)
    saveLora(trainer.parameters.adapter as LoraAdapter, at('adapter'), subject.model)
    mergeLora({ model: subject.model, adapter: at('adapter'), output: at('merged') })
    withDecoder({ ...subject, model: at('merged') }, 'plain', 'float32', (decoder) => assert.ok(largestDifference(logits(decoder), expected) <= 1e-4))
  })
  freeTrainer(trainer)
}

function cached(subject: Subject): void {
  withDecoder(subject, 'plain', 'float32', (decoder) => {
    const starts = rows.map(({ inputIds }) => Array.from(inputIds).slice(0, 8)), whole = starts.map((start) => greedyByWholePasses(decoder, start, 12))
    assert.deepEqual(generate(decoder, starts, { maxNewTokens: 12, stopIds: [], temperature: 0 }), whole)
  })
}

const near = (a: number, b: number, relative: number): void => assert.ok(Math.abs(a / b - 1) <= relative, `${a} is not ${b}`)

/** The columns of the table, and what must hold for a mark in them. */
const features: Readonly<Record<string, (subject: Subject) => void>> = {
  'all weights': (subject) => freeTrainer(trained(subject, { method: 'sft', lora: null }, 5e-3)),
  LoRA: adapter(), rsLoRA: adapter({ rsLora: true, alpha: 4 }), DoRA: adapter({ dora: true }), PiSSA: adapter({ pissa: true }), merge: merged,
  'prefix tuning': (subject) => freeTrainer(trained(subject, { method: 'prefix', lora: null, prefix: { ...defaultPrefix, tokens: 8 } }, 0.3, 0.995)),
  bf16: (subject) => near(withDecoder(subject, 'plain', 'bfloat16', (decoder) => lossOf(decoder, rows)), withDecoder(subject, 'plain', 'float32', (decoder) => lossOf(decoder, rows)), 5e-3),
  'fused blocks': (subject) => near(withDecoder(subject, 'fused', 'float32', (decoder) => lossOf(decoder, rows)), withDecoder(subject, 'plain', 'float32', (decoder) => lossOf(decoder, rows)), 1e-5),
  packing: (subject) => withDecoder(subject, 'plain', 'float32', (decoder) => near(lossOf(decoder, rows), rows.reduce((sum, row) => sum + lossOf(decoder, [row]), 0), 1e-5)),
  'key-value cache': cached,
}

const page = path.join(repoRoot, 'docs', 'families.md'), marks = ['<!-- features -->\n', '<!-- /features -->'] as const

function holds(check: (subject: Subject) => void, subject: Subject, t: TestContext): boolean {
  try {
    check(subject)
    return true
  } catch (error) {
    t.diagnostic(`${path.basename(subject.model)}: ${(error as Error).message}`)
    return false
  }
}

test('the table of families and features in docs/families.md is what holds when each is run; if not: UPDATE_DOCS=1', (t) => {
  const folder = temporaryFolder(t), names = Object.keys(features)
  const lines = families.map(({ name, title }) => {
    const model = examples.tinyModel(name, path.join(folder, name))
    return `| ${title} | ${names.map((feature) => (holds(features[feature], { model, folder: path.join(folder, `${name}-${feature}`) }, t) ? '✓' : '–')).join(' | ')} |`
  })
  const table = `| | ${names.join(' | ')} |\n| --- | ${names.map(() => ':-:').join(' | ')} |\n${lines.join('\n')}\n`
  const text = fs.readFileSync(page, 'utf8'), [start, end] = [text.indexOf(marks[0]) + marks[0].length, text.indexOf(marks[1])]
  assert.ok(!table.includes(' – '), `every family does all of it\n${table}`)
  if (process.env.UPDATE_DOCS) fs.writeFileSync(page, text.slice(0, start) + table + text.slice(end))
  else assert.equal(text.slice(start, end), table)
})
