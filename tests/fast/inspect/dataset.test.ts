import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { DataError, dataset, inspect, PlanError, sft } from 'fettle'
import { openRows, Packs, prepare } from 'fettle/dist/data'
import { histogram, padding } from 'fettle/dist/inspect/lengths'
import { planView } from 'fettle/dist/views/objects'
import { Windows } from 'fettle/dist/train/windows'
import { epochOrder } from 'fettle/dist/data'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

function setting(t: TestContext, rows = 30): { folder: string; model: string; data: string } {
  const folder = temporaryFolder(t)
  process.env.FETTLE_HOME = path.join(folder, 'home')
  return { folder, model: tinyModel(path.join(folder, 'model')), data: tinyData(path.join(folder, 'data'), rows) }
}

test('numbers of a data set are those of its rows, counted one by one', async (t) => {
  const { model, data } = setting(t)
  const plan = sft(model).data(data, { maxLength: 16 }).batch(4).accumulate(2).seed(3).plan
  const info = await dataset({ plan })
  const prepared = (await prepare(plan.data, model)).train!
  const reader = openRows(prepared)
  const lengths = Array.from({ length: reader.rows }, (_, row) => reader.row(row).inputIds.length)
  assert.deepEqual([info.count, info.tokens, info.truncated], [30, lengths.reduce((a, b) => a + b), prepared.truncated])
  assert.ok(info.truncated > 0)

  // What padding would compute, by the batches that training takes.
  const windows = new Windows(reader.rows, plan.batch, plan, (epoch) => epochOrder({ rows: reader.rows, seed: plan.seed, epoch }))
  let padded = 0
  for (let step = 0; step < windows.stepsPerEpoch; step++) for (const rows of windows.at(step)) padded += rows.length * Math.max(...rows.map((row) => lengths[row]))
  assert.deepEqual(info.padding, {
    batch: 4, packed: info.tokens, toLongest: padded, toMaxLength: 16 * 30, saved: 1 - info.tokens / padded, savedOfMaxLength: 1 - info.tokens / (16 * 30),
  })
  const { source, target, total } = info.lengths
  for (const { bins } of [source, target, total]) assert.equal(bins.reduce((sum, bin) => sum + bin.rows, 0), 30)
  assert.deepEqual([total.min, total.max], [Math.min(...lengths), Math.max(...lengths)])
  assert.ok(Math.abs(target.mean * 30 - info.supervised) < 1e-9 && Math.abs((source.mean + target.mean) * 30 - info.tokens) < 1e-9)
})

test('rows show what the loss counts, token by token', async (t) => {
  const { folder, model } = setting(t)
  const file = path.join(folder, 'one.json')
  fs.writeFileSync(file, `${JSON.stringify({ src: 'é \n', tgt: '<b>ü' })}\n${JSON.stringify({ src: 'a', tgt: 'b' })}\n`)
  const info = await dataset(file, { model })
  const [row] = info.rows(0, 1)
  assert.equal(row.tokens.filter((token) => !token.special).map((token) => token.text).join(''), 'é \n<b>ü')
  assert.equal(row.tokens.filter((token) => token.supervised && !token.special).map((token) => token.text).join(''), '<b>ü')
  assert.deepEqual(row.tokens.at(-1), { id: 2, text: '</s>', supervised: true, special: true })
  // Two bytes of é: the second token has the text.
  assert.deepEqual(row.tokens.slice(0, 2).map((token) => token.text), ['', 'é'])
  assert.equal(row.supervised, row.tokens.filter((token) => token.supervised).length)
  assert.equal(String(info.rows(0, 1)), 'Row 0 of 2; ⟦…⟧ is what the loss counts\n\nrow 0 · 10 tokens, 6 supervised\n  é·↵\n  ⟦<b>ü⟨/s⟩⟧')
  assert.equal([...info.rows(1, 9)].length, 1)
  assert.equal([...info.rows()].length, 2)
  for (const [from, count] of [[2, 1], [-1, 1], [0.5, 1], [0, -1], [0, 1001]]) assert.throws(() => info.rows(from, count), (error) => error instanceof PlanError)
})

test('a run before it starts knows its steps', async (t) => {
  const { model, data } = setting(t)
  const builder = sft(model).data(data).lora({ rank: 2 }).batch(4).accumulate(2).epochs(1.5)
  const info = await inspect(builder)
  assert.deepEqual([info.steps, info.epochs, info.data?.count, info.model.trainable?.method], [6, 1.5, 30, 'lora'])
  assert.match(String(info), /^Trains a LoRA adapter of rank 2 on .*\n {2}on .* · 6 steps of 8 rows \(4 × 2\), 1\.5 epochs/)
  assert.deepEqual([(await builder.inspect()).steps, (await inspect(sft(model))).data], [6, null])
  assert.equal((await dataset(builder, { split: 'dev' })).count, 3)
  const two = await inspect(builder.sharding({ degree: 2 }))
  assert.deepEqual([two.steps, two.epochs], [3, 1.5])
  assert.match(String(two), /3 steps of 16 rows \(4 × 2 × 2\)/)
  await assert.rejects(inspect(builder.tp(64)), (error) => (error as PlanError).code === 'mesh.heads')
})

test('with packing it counts packs, as the run itself does', async (t) => {
  const { model, data } = setting(t)
  const builder = sft(model).data(data, { maxLength: 40, packing: true }).lora({ rank: 2 }).batch(2).accumulate(2).epochs(2)
  const { rows, length } = await (async () => {
    const reader = openRows((await prepare(builder.plan.data, model)).train!)
    return { rows: reader.rows, length: (row: number) => reader.length(row) }
  })()
  const { count } = Packs.greedy(rows, length, 40), info = await inspect(builder)
  assert.ok(count < rows / 2, `${count} packs of ${rows} rows`)
  assert.deepEqual([info.data?.count, info.data?.packs, info.steps, info.epochs], [30, count, 2 * Math.ceil(count / 4), 2])
  assert.match(String(info), new RegExp(` · ${info.steps} steps of 4 packs \\(2 × 2\\), 2 epochs`))
  assert.match(String(info), new RegExp(`30 rows in ${count} packs · `))
  assert.match(planView(sft(model).data(data, { packing: true }).batch(1).plan)['text/plain'], /1 pack a step/)
  assert.deepEqual([(await dataset(builder, { split: 'dev' })).packs, (await dataset(sft(model).data(data))).packs], [null, null])
})

test('wrong calls and bad rows are told as everywhere', async (t) => {
  const { folder, model, data } = setting(t)
  const refused = (promise: Promise<unknown>, code: string) => assert.rejects(promise, (error) => (error as PlanError).code === code)
  await refused(dataset(data as never), 'inspect.model')
  await refused(dataset(data, { model, maxlength: 3 } as never), 'plan.unknown')
  await refused(dataset(data, { model, show: 101 }), 'plan.value')
  await refused(dataset(data, { model, split: 'test' as never }), 'plan.value')
  await refused(dataset(sft(model)), 'plan.noData')
  await refused(dataset(path.join(folder, 'nothing'), { model }), 'data.not-found')
  const bad = path.join(folder, 'bad.json')
  fs.writeFileSync(bad, '{"src": "a", "tgt": "b"}\n{"src": "a"}\n')
  await assert.rejects(dataset(bad, { model }), (error) => error instanceof DataError && error.details.line === 2)
})

test('histograms have few bins of a round width that hold every row', () => {
  for (const lengths of [[5], [1, 1, 1], [0, 100000], Array.from({ length: 500 }, (_, i) => (i * 37) % 997)]) {
    const { bins, min, max, median } = histogram(Int32Array.from(lengths))
    assert.ok(bins.length <= 24 && /^[125]0*$/.test(String(bins[0].to - bins[0].from)), JSON.stringify(bins[0]))
    for (const bin of bins) assert.equal(bin.rows, lengths.filter((length) => length >= bin.from && length < bin.to).length)
    assert.deepEqual([min, max], [Math.min(...lengths), Math.max(...lengths)])
    assert.equal(median, [...lengths].sort((a, b) => a - b)[Math.floor(lengths.length / 2)])
  }
  assert.equal(padding(Int32Array.from([3, 3, 3]), 2, 1, 3).saved, 0)
})
