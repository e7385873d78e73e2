import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromCodePoints, toCodePoints } from 'fettle-kernel/dist/session/text'
import { repoRoot } from '../../support/paths'
import { openNotebook } from '../../support/language'

const notebook = openNotebook(repoRoot)
const { complete, inspect, run } = notebook

test.after(() => notebook.close())

test('places count code points, whatever stands before them', () => {
  assert.deepEqual([0, 1, 2, 3, 9].map((at) => fromCodePoints('a😀b', at)), [0, 1, 3, 4, 4])
  assert.deepEqual([0, 1, 3, 4].map((at) => toCodePoints('a😀b', at)), [0, 1, 2, 3])
})

test('all methods of the builder complete, and none that is not public', () => {
  run("import { sft, type Run } from 'fettle'\nconst base = sft('m')\ndeclare const run: Run")
  const { matches } = complete("sft('x').|")
  for (const name of ['data', 'lora', 'bf16', 'fp32', 'learningRate', 'weightDecay', 'maxGradNorm', 'adam', 'schedule', 'warmup', 'epochs', 'steps', 'batch', 'accumulate',
    'evaluate', 'sample', 'save', 'output', 'overwrite', 'resume', 'seed', 'device', 'threads', 'blocks', 'log', 'start', 'plan'])
    assert.ok(matches.includes(name), name)
  assert.deepEqual(complete('run.pa|').matches.slice(0, 1), ['pause'])
  assert.deepEqual(complete('run.|').matches.filter((name) => ['request', 'converse', 'pause'].includes(name)), ['pause'])
  assert.deepEqual(complete('run.set({ |').matches, ['learningRate'])
  assert.deepEqual(matches.filter((name) => /^(next|#|_)/.test(name)), [])
})

test('options, literals, imports and names of earlier cells complete', () => {
  const loraOptions = ['alpha', 'alphaPattern', 'dora', 'dropout', 'from', 'pissa', 'plusRatio', 'rank', 'rankPattern', 'rsLora', 'targets']
  assert.deepEqual(complete("sft('x').lora({ |").matches, loraOptions)
  assert.deepEqual(complete("sft('x').lora({ rank: 8, | })").matches, loraOptions.filter((name) => name !== 'rank'))
  assert.deepEqual(complete("sft('x').lora({ targets: '|' })").matches, ['all-linear'])
  assert.deepEqual(complete("base.schedule('|')").matches, ['constant', 'constant_with_warmup', 'cosine', 'linear', 'polynomial'])
  assert.deepEqual(complete("base.schedule('cos|')"), { text: "base.schedule('cosine')", matches: ['cosine'], types: ['value'] })
  assert.deepEqual(complete("base.evaluate({ each: '|' })").matches, ['epoch', 'never'])
  assert.deepEqual(complete("base.evaluate({ e| })").matches.slice(0, 2), ['each', 'every'])
  assert.ok(complete("import { att| } from 'fettle'").matches.includes('attach'))
  assert.deepEqual(complete("import { a } from 'fett|'").matches.slice(0, 1), ['fettle'])
  assert.deepEqual(complete('bas|').matches.slice(0, 1), ['base'])
})

test('a completion replaces the word that it is in, emoji before it or not', () => {
  assert.equal(complete('base.learn|').text, 'base.learningRate')
  assert.equal(complete('base.lea|rn(1)').text, 'base.learningRate(1)')
  assert.equal(complete("const s = '😀🎉'; base.LEARN|").text, "const s = '😀🎉'; base.learningRate")
  assert.equal(complete("/* 😀 */ base.schedule('lin|')").text, "/* 😀 */ base.schedule('linear')")
  assert.deepEqual(complete('base.learn|').types, ['method'])
})

test('hover shows the signature and the docs of a function, a method, an option and a value', () => {
  for (const [code, signature, docs] of [
    ["sf|t('x')", 'sft(model: string): Sft', /Begins the description.*- `model` /s],
    ['base.lo|ra({ rank: 8 })', 'PlanBuilder.lora(options?: LoraOptions): Sft', /low-rank adapter.*- `rank\?: number` .*1 to 65536\. Default 8\./s],
    ['base.lora({ ra|nk: 8 })', 'LoraOptions.rank?: number', /1 to 65536\. Default 8\./],
    ['base.lora({ rank: 8| })', 'LoraOptions.rank?: number', /1 to 65536\. Default 8\./],
    ['base.lora({ rank| })', 'LoraOptions.rank?: number', /1 to 65536\. Default 8\./],
    ['base.lora(|)', 'PlanBuilder.lora(', /low-rank adapter/],
    ['base.lora({ |', 'PlanBuilder.lora(', /low-rank adapter/],
    ['base.learningRate(1e-4|)', 'PlanBuilder.learningRate(value: number): Sft', /Above 0\. Default 3e-5 for all weights, 3e-4 with LoRA/],
    ['base.pl|an', 'PlanBuilder.plan: Plan', /frozen plan/],
    ['base.sample({ every: 5, top|P: 1 })', 'topP?: number', /Above 0, at most 1\. Default 1\./],
    ['base.sample({ ev|ery: 5 })', 'every', /optimizer steps.*At least 1/s],
    ["base.evaluate({ ea|ch: 'epoch' })", 'each', /epoch/],
    ["const s = '😀'; base.lo|ra()", 'PlanBuilder.lora(', /low-rank adapter/],
    ['run.pa|use()', 'pause(): Promise<void>', /Waits between two steps/],
    ['run.set({ learningRate: 1| })', 'learningRate: number', /^/],
    ['ba|se', 'const base: Sft', /^$/],
  ] as const) {
    const { plain, markdown } = inspect(code)
    assert.ok(plain.includes(signature), `${code}: ${plain}`)
    assert.match(plain.slice(plain.indexOf('\n\n') < 0 ? plain.length : plain.indexOf('\n\n')).trim(), docs, code)
    assert.ok(markdown.startsWith('```typescript\n') && markdown.includes(signature), markdown)
  }
  assert.doesNotMatch(inspect("s|ft('x')").plain, /\{@link/)
  for (const code of ['|', 'base.lora()|', '1 + |2', 'base.start().then(() => { | })']) assert.equal(inspect(code).plain, '', code)
})

test('names of a cell that still runs complete in the next one; those of a failed cell go', () => {
  notebook.begin('const waiting = base.lora()')
  assert.deepEqual(complete('waiting.lor|').matches, ['lora'])
  notebook.end(false)
  assert.ok(!complete('waitin|').matches.includes('waiting'))
  assert.deepEqual(complete('bas|').matches.slice(0, 1), ['base'])
})

test('a wrong call is refused before anything runs, with a name to write instead', () => {
  for (const [code, message] of [
    ['base.lora({ rnk: 8 })', /'rnk' does not exist in type 'LoraOptions'\. Did you mean to write 'rank'\?/],
    ['base.lorra()', /Property 'lorra' does not exist on type 'Sft'\. Did you mean 'lora'\?/],
    ["base.schedule('cosin')", /"cosin".*Did you mean 'cosine'\?/],
    ["base.evaluate({ each: 'epochs' })", /Did you mean '"?epoch"?'\?/],
    ["base.device('xyzzyxyzzy')", /is not assignable to parameter of type '"auto" \| "cpu" \| "cuda"'\.$/],
    ["base.learningRate('1e-4')", /'string' is not assignable to parameter of type 'number'/],
    ["base.lora({ rank: '8' })", /'string' is not assignable to type 'number'/],
    ['sft()', /Expected 1 arguments, but got 0/],
    ['base.save({ every: 5, kep: 2 })', /'kep'/],
    ['run.set({ learningRat: 1 })', /Did you mean to write 'learningRate'\?/],
    ['run.pause(1)', /Expected 0 arguments, but got 1/],
    ['run.paus()', /Did you mean 'pause'\?/],
    ["import { sfft } from 'fettle'", /no exported member.*Did you mean 'sft'\?/],
  ] as const) {
    const findings = notebook.check(code)
    assert.notEqual(findings.length, 0, code)
    assert.match(findings.join(' '), message, code)
  }
})
