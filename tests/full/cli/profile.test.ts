import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { Profile } from 'fettle'
import type { TraceEvent } from 'fettle/dist/profile/chrome'
import { repoRoot } from '../../support/paths'
import { closing, reached, tinyRun } from '../../support/runs'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

const bin = path.join(repoRoot, 'sdk', 'bin', 'fettle.js')

function fettle(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = '', err = ''
  child.stdout.on('data', (data) => { out += data })
  child.stderr.on('data', (data) => { err += data })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

const left = (): string[] => fs.readdirSync(os.tmpdir()).filter((name) => name.startsWith('fettle-profile-'))

test('a few steps of an argument file: tables, three files, and nothing else', async (t) => {
  const folder = temporaryFolder(t), before = left(), out = path.join(folder, 'profiles')
  const args = { model_name_or_path: tinyModel(path.join(folder, 'model')), dataset_name_or_path: tinyData(path.join(folder, 'data')), output_dir: path.join(folder, 'out'), lora: true, lora_rank: 4, max_steps: 1, do_eval: true, evaluation_strategy: 'epoch', per_device_train_batch_size: 2, src_length: 32, max_length: 64, threads: 1 }
  fs.writeFileSync(path.join(folder, 'args.json'), JSON.stringify(args))
  const { code, out: text, err } = await fettle('profile', path.join(folder, 'args.json'), '--out', out, '--steps', '2')
  assert.equal(code, 0, err)
  for (const pattern of [/^Profile of steps 3 to 4: /m, /^limit: .* GFLOP\/s, the best product of float32 with 1 thread/m, /^up +6 .*%/m, /^2 +\d/m, /^optimizer moments +\d/m, /^both charts +.*profile-3\.html$/m, /^trace \(Perfetto\) +.*profile-3\.trace\.json$/m]) assert.match(text, pattern)
  assert.deepEqual(fs.readdirSync(out).sort(), ['profile-3.html', 'profile-3.json', 'profile-3.trace.json'])
  assert.deepEqual(Profile.read(path.join(out, 'profile-3.json')).steps.map(({ step }) => step), [3, 4])
  assert.ok((JSON.parse(fs.readFileSync(path.join(out, 'profile-3.trace.json'), 'utf8')) as { traceEvents: TraceEvent[] }).traceEvents.length > 50)
  assert.ok(!fs.existsSync(args.output_dir))
  assert.deepEqual(left(), before)

  const named = await fettle('profile', args.model_name_or_path, '--dataset_name_or_path', args.dataset_name_or_path, '--lora', '--src_length', '32', '--max_length', '64', '--threads', '1', '--steps', '1', '--skip', '0', '--json', '--out', out)
  assert.equal(named.code, 0, named.err)
  const { files, blocks, peak, parts } = JSON.parse(named.out) as { files: Record<string, string>; blocks: Profile['blocks']; peak: number; parts: Profile['parts'] }
  assert.ok(Object.values(files).every((file) => fs.existsSync(file)) && blocks.some(({ name }) => name === 'qkv'))
  assert.ok(Math.abs(parts.reduce((sum, { bytes }) => sum + bytes, 0) / peak - 1) < 1e-6)
})

test('a live run, by its folder; what cannot be is refused', async (t) => {
  const folder = temporaryFolder(t), run = closing(t, await tinyRun(folder, 4000).start())
  await reached(run, 'step', 1)
  const { code, out, err } = await fettle('profile', run.dir, '--steps', '1')
  assert.equal(code, 0, err)
  const [, html] = /^both charts +(.*)$/m.exec(out)!
  assert.equal(path.dirname(html), run.dir)
  const flag = await fettle('profile', run.dir, '--max_length', '8')
  assert.deepEqual([flag.code, /--max_length changes nothing/.test(flag.err)], [2, true])
  assert.equal((await fettle('profile', run.dir, '--steps', '0')).code, 2)
  await run.stop()
  await run.close()
  assert.notEqual((await fettle('profile', run.dir)).code, 0)
  const data = await fettle('profile', path.join(folder, 'model'), '--dataset_name_or_path', path.join(folder, 'nowhere'))
  assert.deepEqual([data.code, data.out], [3, ''])
})
