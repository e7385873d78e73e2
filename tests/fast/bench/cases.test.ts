import assert from 'node:assert/strict'
import { test } from 'node:test'
import { benchModule, cpuOf } from '../../support/bench'

const amx = cpuOf('avx2', 'avx512_bf16', 'amx_bf16'), old = cpuOf('avx2', 'fma')

async function casesOf(words: string[], cpu = amx): Promise<any[]> {
  const { casesOf, parse } = await benchModule('cases.mjs')
  return parse(words).runs.flatMap((run: unknown) => casesOf(run, cpu))
}

test('without flags: LoRA on heavy-tailed rows, each peer in its default and its best form', async () => {
  const [one, ...more] = await casesOf([])
  assert.equal(more.length, 0)
  assert.equal(one.key, 'smollm2/lora/heavy/bf16')
  assert.deepEqual(one.sides, ['fettle', 'fettle-run', 'peft:default', 'peft:best'])
  assert.deepEqual([one.steps, one.rounds, one.skip, one.threads], [12, 2, 0, 2])
})

test('where bf16 is emulated it runs for the fewest steps, beside fp32', async () => {
  const cases = await casesOf([], old)
  assert.deepEqual(cases.map((c) => [c.dtype, c.emulated, c.steps, c.rounds, c.skip]), [['fp32', false, 12, 2, 0], ['bf16', true, 2, 1, 1]])
  assert.equal((await casesOf(['--rows', '4096', '--dtype', 'bf16'], old))[0].steps, 1)
  assert.deepEqual((await casesOf(['--quick'], old)).map((c) => c.dtype), ['fp32', 'fp32', 'fp32', 'fp32'])
})

test('what a peer cannot do is refused by name, and the others run', async () => {
  const [prefix, generate] = await casesOf(['--peer', 'peft,trl,torchtune', '--case', 'prefix,generate', '--batches', '8', '--rows', 'short'])
  assert.deepEqual(prefix.refused, { 'torchtune:default': 'torchtune has no prefix tuning', 'torchtune:best': 'torchtune has no prefix tuning' })
  assert.ok(prefix.sides.includes('trl:best'))
  assert.deepEqual(Object.keys(generate.refused), ['trl:default', 'trl:best'])
  assert.deepEqual([generate.key, generate.batch, generate.sides[0]], ['smollm2/generate/batch-8/bf16', 8, 'fettle'])
  assert.ok(!generate.sides.includes('fettle-run'))
})

test('a row that is longer than a model takes is nobody\'s case', async () => {
  const [long] = await casesOf(['--model', 'opt', '--rows', '4096', '--sides', 'fettle,peer'])
  assert.deepEqual(long.sides, [])
  assert.match(long.refused.fettle, /has 2,048 positions, too few for rows of 4,096 tokens/)
})

test('the full set has each case, law, type and peer, and other families', async () => {
  const keys = (await casesOf(['--full'])).map(({ key }) => key)
  for (const name of ['lora', 'full', 'prefix']) for (const rows of ['short', 'heavy', '1024', '4096']) for (const dtype of ['fp32', 'bf16']) assert.ok(keys.includes(`smollm2/${name}/${rows}/${dtype}`))
  assert.ok(keys.includes('qwen2/lora/heavy/bf16') && keys.includes('opt/generate/batch-8/fp32'))
  assert.equal(new Set(keys).size, keys.length)
  const bf16 = (await casesOf(['--full'], old)).filter(({ dtype }) => dtype === 'bf16').map(({ key }) => key)
  assert.deepEqual(bf16.filter((key) => key.startsWith('smollm2')), ['smollm2/lora/short/bf16', 'smollm2/full/short/bf16', 'smollm2/prefix/short/bf16', 'smollm2/generate/batch-1/bf16'])
})

test('flags stand above a set', async () => {
  const cases = await casesOf(['--quick', '--case', 'full', '--rows', '1024', '--dtype', 'fp32', '--steps', '3', '--forms', 'best,compile', '--sides', 'fettle,fettle-plain,peer'])
  assert.deepEqual(cases.map(({ key, steps, sides }) => [key, steps, sides]), [['smollm2/full/1024/fp32', 3, ['fettle', 'fettle-plain', 'peft:best', 'peft:compile']]])
})

test('a wrong flag says what is expected', async () => {
  const { parse } = await benchModule('cases.mjs')
  const refused = (words: string[], message: RegExp) => assert.throws(() => parse(words), (error: any) => error.name === 'PlanError' && error.code === 'bench.flag' && message.test(error.message))
  refused(['--peer', 'unsloth'], /expected one or more of peft, trl, torchtune for --peer, got unsloth; try --peer peft,trl/)
  refused(['--rounds', '0'], /expected a whole number from 1 up for --rounds, got 0/)
  refused(['--steps', 'many'], /got many/)
  refused(['--quick', '--full'], /at once/)
  refused(['--pears'], /--help lists the flags/)
})

test('each side is one command: adapters in the types that its form has, tcmalloc under the best forms alone', async () => {
  const { commandOf } = await benchModule('sides.mjs'), files = { model: 'M', rows: 'R', text: 'T', lora: 'L', prefix: 'P' }, tools = { pythons: { peft: 'py', trl: 'py', torchtune: 'py' }, tcmalloc: 'tc.so' }
  const [lora, generate] = await casesOf(['--peer', 'peft,trl,torchtune', '--case', 'lora,generate', '--batches', '1', '--rows', 'short'])
  const words = (side: string, c: unknown) => { const { args, env } = commandOf(side, c, files, tools); return { line: args.join(' '), env } }
  assert.match(words('peft:default', lora).line, /peft_default\.py M R --case lora .*--adapter L --form default --adapter-dtype fp32$/)
  assert.match(words('peft:compile', lora).line, /peft_best\.py .*--form compile --adapter-dtype model$/)
  assert.match(words('trl:best', lora).line, /trl_train\.py/)
  assert.match(words('torchtune:best', generate).line, /torchtune_generate\.py .*--batch 1 --prompt 64 --new 64/)
  assert.match(words('fettle', generate).line, /generate\.mjs M R/)
  assert.match(words('fettle-run', lora).line, /run\.mjs M T/)
  assert.equal(words('peft:default', lora).env.LD_PRELOAD, undefined)
  assert.equal(words('peft:best', lora).env.LD_PRELOAD, 'tc.so')
})
