import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseArguments, sft, type DataFacts, type DataToken, type EvalEvent, type ModelFacts, type ShownRow } from 'fettle'
import { bundleOf } from 'fettle-kernel/dist/session/values'
import { adapterView, checkpointsView, dataView, evaluationsView, evaluationView, meshView, modelView, planView, resultView, rowsView, type TextAndHtml } from 'fettle/dist/views/objects'
import { bytesText, shareText } from 'fettle/dist/views/objects/frame'
import { idleSettings } from 'fettle/dist/views/objects/idle'
import { settingGroups } from 'fettle/dist/views/objects/settings'

const hostile = `</style><script>alert(1)</script><img src=x onerror=alert(2)>"'javascript:alert(3)`
const long = 'x'.repeat(100_000)

const model: ModelFacts = {
  name: hostile, path: long, format: 'gguf', family: hostile, layers: 30, hiddenSize: 576, intermediateSize: 1536, heads: 9, kvHeads: 3, headDim: 64, vocabSize: 49152,
  contextLength: 8192, tiedHead: true, parameters: 100, parts: [{ name: 'MLP', parameters: 75 }, { name: 'head', parameters: 0 }, { name: 'norms', parameters: 25 }],
  types: [{ name: hostile, tensors: 1, parameters: 100 }], bytes: 98_400_000, trainable: { method: 'lora', parameters: 25, of: 125, share: 0.2 }, warnings: [hostile],
}
const lengths = { min: 1, median: 2, p95: 3, max: 4, mean: 2.5, bins: [{ from: 1, to: 3, rows: 3 }, { from: 3, to: 5, rows: 1 }] }
const data: DataFacts = {
  path: hostile, split: 'train', sources: [long, hostile], model: hostile, template: 'chat', srcLength: 8, maxLength: 16, count: 4, packs: null, tokens: 10, supervised: 4, truncated: 1,
  lengths: { source: lengths, target: lengths, total: lengths }, padding: { batch: 2, packed: 10, toLongest: 16, toMaxLength: 64, saved: 0.375, savedOfMaxLength: 0.84375 },
  notes: [{ code: 'data.truncated', message: hostile }],
}
const token = (text: string, supervised = false, special = false): DataToken => ({ id: 1, text, supervised, special })
const row = (tokens: readonly DataToken[]): ShownRow => ({ row: 0, tokens, supervised: tokens.filter((t) => t.supervised).length })
const evaluation = (atStep: number, loss: number): EvalEvent => ({ type: 'eval', time: 0, atStep, loss, perplexity: Math.exp(loss), accuracy: 0.5, rows: 64, ms: 900 })
const hostileRow = row([token(hostile), token('<|im_end|>', true, true), token(long, true), token('\u202Eevil\u0007', true)])

/** Markup between tags is text, attributes are quoted, and only known tags stand in it. */
function checkMarkup({ 'text/html': markup, 'text/plain': text }: TextAndHtml): void {
  const body = markup.replace(/<style>[^<]*<\/style>/g, '')
  const tags = new Set([...body.matchAll(/<\/?([a-z]+)/gi)].map(([, name]) => name.toLowerCase()))
  for (const name of tags) assert.ok(/^(div|span|table|caption|thead|tbody|tr|th|td|b|p|small|details|summary|pre|figure|figcaption|svg|title|desc|rect|line|text)$/.test(name), name)
  assert.doesNotMatch(body, /<[^>]*\s(on\w+|href|src)\s*=/i)
  assert.ok(markup.length < 60_000, `${markup.length}`)
  assert.ok(text.length < 12_000, `${text.length}`)
}

test('hostile and endless strings stay text, and short', () => {
  const plan = sft(hostile.slice(0, 60)).data(hostile, { template: long, system: hostile }).sample({ every: 1, prompts: [hostile, long], stop: [hostile] }).plan
  for (const view of [
    modelView(model), dataView(data, [hostileRow]), rowsView([hostileRow], 1), planView(plan, { model, data, steps: 3, epochs: 1 }),
    adapterView({ path: long, base: hostile, rank: 1, alpha: 2, dropout: 0, kind: 'LoRA', tokens: null, targets: [hostile, long], modules: 1, layers: 1, parameters: 1, bytes: 1, steps: 1 }),
    checkpointsView({ dir: hostile, verified: false, checkpoints: [{ folder: long, step: 1, time: null, bytes: 1, state: 'broken', reason: hostile, kind: null, loss: NaN, evalLoss: null, resumes: false }] }),
    resultView({ steps: 1, loss: NaN, evalLoss: 1, best: null, test: null, output: hostile, stopped: true, ms: 5 }), evaluationView(evaluation(1, NaN)), evaluationsView([evaluation(1, NaN), evaluation(2, 1)]),
  ]) checkMarkup(view)
})

test('a model: sizes, parts, what trains', () => {
  const text = modelView({ ...model, name: 'm', family: 'llama', path: '/m', types: [{ name: 'Q4_1', tensors: 1, parameters: 100 }], warnings: [] })['text/plain']
  assert.match(text, /^m\nllama · 30 layers · 100 parameters · Q4_1, 98\.4 MB on disk\n25\.0 of 125 values train \(20\.0%, LoRA\)\n\nhidden size  576\n/)
  assert.match(text, /^attention {4}9 heads of 64, 3 key\/value heads$/m)
  assert.match(text, /^MLP {5}75 {10}75\.0% {2}█{15}$/m)
  assert.doesNotMatch(text, /^head {5}0/m)
})

test('rows: what the loss counts is marked by more than colour, and blanks show where they matter', () => {
  const tokens = [token('<s>', false, true), token('a b'), token('  c\t'), token('d \n'), token(' e', true), token('</s>', true, true)]
  const view = rowsView([row(tokens)], 1)
  assert.match(view['text/plain'], /^ {2}⟨s⟩a b··c⇥d·↵\n {2}⟦·e⟨\/s⟩⟧$/m)
  const markup = view['text/html']
  assert.match(markup, /<b><span class="fettle-mark">·<\/span>e<span class="fettle-t"><span class="fettle-mark">⟨\/s⟩<\/span><\/span><\/b>/)
  assert.match(markup, /\.fettle-row b[^{]*\{[^}]*text-decoration:underline/)
  assert.match(markup, /<span class="fettle-read"><span class="fettle-mark">⟨s⟩<\/span><span class="fettle-t">a b<\/span>/)
  assert.match(rowsView([row([token('\u202Ea\u0007')])], 1)['text/plain'], /⟨U\+202E⟩a⟨U\+0007⟩/)
  // A long row shows its start and its end.
  const many = row(Array.from({ length: 1000 }, (_, i) => token(`${i} `, i > 500)))
  assert.match(rowsView([many], 1)['text/plain'], /0 1 2 .* 159·? … 720 tokens … ⟦880 881 .*999·⟧/)
})

test('a data set: lengths as pictures with words, padding saved', () => {
  const view = dataView(data, [])
  assert.equal(view['text/html'].match(/<svg [^>]*role="img"[^>]*><title>Length of [^<]+<\/title><desc>1 to 4 tokens a row, median 2, mean 2\.50, 95% at most 3\.<\/desc>/g)?.length, 3)
  // Three of four rows: the higher bar; the other a third of it.
  assert.match(view['text/html'], /height="56\.0"[^>]*\/><rect [^>]*height="18\.7"/)
  assert.match(view['text/plain'], /^packing saves {2}37\.5% of the positions that batches of 2 padded to their longest row would compute\n {15}84\.4% of those of rows padded to maxLength 16$/m)
  assert.match(view['text/plain'], /^target {2}1 ▕█▃▏ 4 tokens, median 2$/m)
})

test('a plan: what it does, what was set, the same as an argument file', () => {
  const { plan } = sft('builtin:smollm2-135m').data('data/x').lora({ rank: 16 }).steps(300).learningRate(1e-4).evaluate({ every: 50 }).batch(4)
  const { 'text/plain': text, 'text/html': markup } = planView(plan)
  assert.match(text, /^Trains a LoRA adapter of rank 16 on builtin:smollm2-135m\n {2}on data\/x · 300 steps of 4 rows · learning rate 1e-4, linear\n/)
  const set = settingGroups(plan).flatMap(({ settings }) => settings).filter(({ changed }) => changed).map(({ name }) => name)
  assert.deepEqual(set, ['model', 'method', 'rank', 'path', 'steps', 'batch', 'learning rate', 'evaluate'])
  for (const name of set) assert.match(markup, new RegExp(`<tr class="fettle-set"><th scope="row">${name}</th>`))
  assert.match(markup, /<tr class="fettle-quiet"><th scope="row">seed<\/th><td>42<\/td>/)
  const file = /<pre>([^<]+)<\/pre>/.exec(markup)![1].replace(/&quot;/g, '"')
  assert.deepEqual(parseArguments(file).plan, plan)
  assert.deepEqual(settingGroups(sft('m').plan).flatMap(({ settings }) => settings).filter(({ changed }) => changed).map(({ name }) => name), ['model', 'path'])
})

test('settings without an effect are told in words', () => {
  const base = sft('m').data('d')
  assert.deepEqual(idleSettings(base.plan), [])
  const first = (builder: typeof base, steps: number | null = null): string => idleSettings(builder.plan, steps)[0]
  assert.match(first(sft('m')), /^No data yet/)
  assert.match(first(base.schedule('constant', { warmupSteps: 5 })), /^The warm-up changes nothing/)
  assert.match(first(base.warmup(10), 10), /^The warm-up of 10 steps takes the whole run/)
  assert.match(first(base.epochs(2).steps(5)), /^epochs 2 changes nothing/)
  assert.match(first(base.data('d', { template: 'none', system: 's' })), /^The system message changes nothing/)
  assert.match(first(base.sample({ each: 'never', prompts: ['a'] })), /^Sample prompts change nothing/)
})

test('evaluations: one, and several with what changed', () => {
  assert.match(evaluationView(evaluation(50, 1.5))['text/plain'], /^Evaluation after 50 steps\nloss 1\.500 on 64 held-out rows\n\nloss {8}1\.500 nats a token\nperplexity {2}4\.482\naccuracy {4}50\.0%/)
  const text = evaluationsView([evaluation(0, 3), evaluation(50, 1), evaluation(100, 1.25)])['text/plain']
  assert.match(text, /^3 evaluations\nloss 3\.000 → 1\.250 \(−1\.75\), lowest 1\.000 after 50 steps\n/)
  assert.match(text, /^50 {4}1\.000 ★ {2}−2\.00 /m)
  assert.match(text, /^100 {3}1\.250 {4}\+0\.250 /m)
})

test('the kernel shows builders, plans, evaluations and what shows itself', () => {
  const builder = sft('m').data('d')
  assert.deepEqual(bundleOf(builder), planView(builder.plan))
  assert.deepEqual(bundleOf(builder.plan), planView(builder.plan))
  assert.deepEqual(bundleOf(evaluation(1, 2)), evaluationView(evaluation(1, 2)))
  assert.deepEqual(bundleOf([evaluation(1, 2), evaluation(2, 1)]), evaluationsView([evaluation(1, 2), evaluation(2, 1)]))
  for (const value of [[], [evaluation(1, 2), 3], { type: 'eval' }, { version: 1, model: 'm', batch: {} }]) assert.equal(bundleOf(value), null)
})

test('a result: how far, how good, where', () => {
  const result = { steps: 300, loss: 0.4213, evalLoss: 0.55, best: null, test: null, output: '/o', stopped: false, ms: 105_000 }
  assert.equal(resultView(result)['text/plain'], 'Finished after 300 steps in 1m 45s\nlast loss      0.4213\nheld-out loss  0.5500\nweights        /o')
  assert.deepEqual(bundleOf(result), resultView(result))
  assert.match(resultView({ ...result, stopped: true })['text/plain'], /^Stopped after 300 .*\ncheckpoints {4}\/o\n\.resume\(\) goes on from there\.$/s)
})

test('sizes and shares as people read them', () => {
  assert.deepEqual([bytesText(12), bytesText(98_400_000), bytesText(2.5e9)], ['12 B', '98.4 MB', '2.50 GB'])
  assert.deepEqual([shareText(0.035), shareText(0.00026), shareText(0)], ['3.5%', '0.026%', '0.0%'])
})

test('a plan tells what it trains and how, new adapters and those to go on from', () => {
  const text = (plan: Parameters<typeof planView>[0]): string => planView(plan)['text/plain']
  const lora = text(sft('m').data('d').lora({ rank: 16, rsLora: true, dora: true, plusRatio: 16, rankPattern: { q_proj: 4 } }).neftune().recompute().plan)
  for (const part of [/^Trains a rsDoRA adapter of rank 16 on m/, /alpha \/ √rank/, /trained \(DoRA\)/, /16 × that of A/, /q_proj 4/, /NEFTune +alpha 5/, /recompute +full/]) assert.match(lora, part)
  const more = text(sft('m').data('d', { seed: 3, dropLast: true }).lora({ from: 'out' }).schedule('polynomial', { power: 2 }).resume(true, { data: 'restart' }).plan)
  for (const part of [/^Trains the adapter of out further, on m/, /goes on from +out/, /by seed 3/, /left out unless/, /polynomial of power 2/, /from its beginning/]) assert.match(more, part)
  assert.doesNotMatch(more, /rank +8/)
})

test('a mesh: replicas, stages with their layers, tensor ranks', () => {
  const shape = { dp: 1, sharding: 2, pp: 2, tp: 2 }
  const { 'text/plain': text, 'text/html': markup } = meshView(shape, { layers: [{ start: 0, end: 16 }, { start: 16, end: 30 }], devices: Array.from({ length: 8 }, (_, i) => `cuda:${i}`) })
  assert.equal(text, [
    '8 ranks: sharding=2,pp=2,tp=2', 'state shared by 2 · 2 pipeline stages · matrices cut in 2', '',
    '            stage 0, layers 0–15  stage 1, layers 16–29', '----------  --------------------  ---------------------',
    'sharding 0  0 cuda:0              2 cuda:2', '            1 cuda:1              3 cuda:3', 'sharding 1  4 cuda:4              6 cuda:6', '            5 cuda:5              7 cuda:7',
  ].join('\n'))
  assert.match(markup, /<th scope="col">stage 1, layers 16–29<\/th>/)
  assert.match(markup, /<tr><th scope="row">sharding 1<\/th><td><div>4 cuda:4<\/div><div>5 cuda:5<\/div><\/td><td><div>6 cuda:6<\/div>/)
  checkMarkup(meshView(shape, { devices: [hostile, long] }))
  checkMarkup(meshView({ dp: 64, sharding: 2, pp: 8, tp: 8 }, { devices: Array.from({ length: 8192 }, (_, i) => `cuda:${i % 8}`) }))
})

test('a mesh of one rank, one stage, interleaved stages, and many replicas', () => {
  assert.equal(meshView({ dp: 1, sharding: 1, pp: 1, tp: 1 }, { layers: [{ start: 0, end: 30 }], devices: ['cpu'] })['text/plain'], '1 rank\nthe whole model on one device\n\n  layers 0–29\n  -----------\n  0 cpu')
  assert.match(meshView({ dp: 1, sharding: 1, pp: 2, tp: 1 }, { layers: [0, 1, 2, 3].map((i) => ({ start: 2 * i, end: 2 * i + 2 })) })['text/plain'], /stage 0, layers 0–1, 4–5 {2}stage 1, layers 2–3, 6–7/)
  assert.match(meshView({ dp: 1, sharding: 1, pp: 2, tp: 1 }, { layers: [{ start: 0, end: 1 }, { start: 1, end: 2 }] })['text/plain'], /stage 0, layer 0 {2}stage 1, layer 1/)
  assert.match(meshView({ dp: 20, sharding: 1, pp: 1, tp: 1 })['text/plain'], /^20 ranks: dp=20\n20 replicas\n[^]*dp 15 {2}15\nand 4 more replicas, cut in the same way$/)
})

test('a plan shows its mesh in one line, and the rows of all its data ranks', () => {
  const builder = sft('m').data('d').batch(8).accumulate(4).sharding({ stage: 3, degree: 2 }).tp(2).gpus([4, 5, 6, 7]).deterministic().cudaGraphs().restart(2)
  const { 'text/plain': text } = planView(builder.plan)
  for (const part of [/3 epochs, 64 rows \(8 × 4 × 2\) a step/, /^ {2}4 ranks: sharding=2:stage3,tp=2$/m, /^ {2}mesh +sharding=2:stage3,tp=2$/m, /^ {2}GPUs +4, 5, 6, 7$/m, /^ {2}sums +in the same order/m, /^ {2}graphs +of micro-batches/m, /^ {2}restart +up to 2 times/m]) assert.match(text, part)
  assert.doesNotMatch(planView(sft('m').data('d').plan)['text/plain'], /rank|mesh|GPU/)
  assert.match(idleSettings(sft('m').data('d').sequenceParallel().plan)[0], /^Sequence parallelism changes nothing/)
  assert.equal(idleSettings(sft('m').data('d').pp(2).plan)[0], "The pipeline mostly waits: a step's one batch is fewer than its 2 stages (.accumulate(8)).")
  assert.deepEqual(idleSettings(sft('m').data('d').pp(2).accumulate(8).plan), [])
})
