import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { devices } from 'fettle-native'
import { sft, type Sft, type StepEvent } from 'fettle'
import { temporaryFolder, tinyData, tinyModel } from '../support/tiny'

const gpus = devices().filter(({ kind }) => kind === 'cuda').length
const skip = gpus >= 2 ? false : `needs 2 GPUs, found ${gpus}`

const meshes: readonly (readonly [string, (builder: Sft) => Sft])[] = [
  ['dp=2', (builder) => builder.dp(2).batch(2)], ['tp=2', (builder) => builder.tp(2).batch(4)], ['pp=2', (builder) => builder.pp(2).batch(4)],
  ['sharding=2:stage3', (builder) => builder.sharding({ stage: 3, degree: 2 }).batch(2)],
]

for (const [name, divided] of meshes) {
  test(`ranks on GPUs learn what one CPU rank does: ${name}`, { skip }, async (t) => {
    const folder = temporaryFolder(t), model = tinyModel(path.join(folder, 'model')), data = tinyData(path.join(folder, 'data'), 24)
    const losses = async (output: string, made: (builder: Sft) => Sft): Promise<number[]> => {
      const run = await made(sft(model).data(data, { maxLength: 64, srcLength: 32, template: 'none' }).accumulate(2).steps(6).output(path.join(folder, output)).save({ each: 'never' })).start({ board: false })
      await run.done
      await run.close()
      return run.events.filter((event): event is StepEvent => event.type === 'step').map(({ loss }) => loss)
    }
    const seen = await losses('gpu', (builder) => divided(builder).device('cuda')), expected = await losses('cpu', (builder) => builder.batch(4).device('cpu'))
    seen.forEach((loss, i) => assert.ok(Math.abs(loss / expected[i] - 1) <= 1e-3, `step ${i + 1}: ${loss}, on the CPU ${expected[i]}`))
  })
}
