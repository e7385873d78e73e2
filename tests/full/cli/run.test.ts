import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { attach, type RunEvent } from 'fettle'
import { inArguments } from 'fettle/dist/cli/run'
import { refuseMesh } from 'fettle/dist/parallel/mesh/fit'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import { isAlive } from 'fettle/dist/process'
import { repoRoot } from '../../support/paths'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

const bin = path.join(repoRoot, 'sdk', 'bin', 'fettle.js')

/** A folder with model, data and `args.json`. */
function workplace(t: TestContext, extra: Record<string, unknown> = {}): string {
  const folder = temporaryFolder(t)
  const args = {
    model_name_or_path: tinyModel(path.join(folder, 'model')), dataset_name_or_path: tinyData(path.join(folder, 'data')), output_dir: path.join(folder, 'out'),
    do_train: true, lora: true, lora_rank: 4, max_steps: 4, per_device_train_batch_size: 2, src_length: 32, max_length: 64, logging_steps: 2, threads: 1, ...extra,
  }
  fs.writeFileSync(path.join(folder, 'args.json'), JSON.stringify(args, null, 2))
  return folder
}

/** Runs `fettle run`; `onLine` sees each line of stderr as it comes. */
function fettleRun(args: string[], onLine?: (line: string, child: ReturnType<typeof spawn>) => void): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [bin, 'run', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = '', err = '', line = ''
  child.stdout.on('data', (data) => { out += data })
  child.stderr.on('data', (data: Buffer) => {
    err += data
    line += data
    for (const whole of line.split('\n').slice(0, -1)) onLine?.(whole, child)
    line = line.split('\n').at(-1)!
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

test('a run by file and flags: plain lines when piped, results where they belong', async (t) => {
  const folder = workplace(t, { evaluation_strategy: 'steps', eval_steps: 2, label_names: ['labels'] })
  const { code, out, err } = await fettleRun([path.join(folder, 'args.json'), '--learning-rate', '1e-3', '--save_strategy', 'steps', '--save_steps=2', '--save_total_limit', '1', '--bf16'])
  assert.equal(code, 0, err)
  assert.equal(out, '')
  assert.doesNotMatch(err, /\r/)
  for (const pattern of [/^note: label_names changes nothing/m, /^train: 11 rows/m, /^step 2\/4 {2}loss .* left$/m, /^evaluation at step 4: loss/m, /^final weights in /m, /^done after step 4/m]) assert.match(err, pattern)
  assert.doesNotMatch(err, /^step 3\/4/m)
  const files = fs.readdirSync(path.join(folder, 'out'))
  for (const name of ['adapter_model.safetensors', 'adapter_config.json', 'metrics.jsonl', 'checkpoint-4']) assert.ok(files.includes(name), name)
  assert.ok(!files.includes('checkpoint-2'))
  const events = fs.readFileSync(path.join(folder, 'out', 'metrics.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as RunEvent)
  assert.deepEqual(events.flatMap((event) => (event.type === 'step' ? [event.step] : [])), [1, 2, 3, 4])

  const again = await fettleRun([path.join(folder, 'args.json')])
  assert.equal(again.code, 2)
  assert.match(again.err, /overwrite_output_dir/)
  const resumed = await fettleRun([path.join(folder, 'args.json'), '--resume_from_checkpoint', 'true', '--max_steps', '5'])
  assert.equal(resumed.code, 0, resumed.err)
  assert.match(resumed.err, /from step 4/)
  assert.match(resumed.err, /done after step 5/)
})

test('--json: events on stdout and nothing else there', async (t) => {
  const folder = workplace(t)
  const { code, out } = await fettleRun([path.join(folder, 'args.json'), '--json', '--overwrite_output_dir'])
  assert.equal(code, 0)
  const events = out.trimEnd().split('\n').map((line) => JSON.parse(line) as RunEvent)
  assert.deepEqual([events[0].type, events.at(-1)!.type], ['prepared', 'done'])
})

test('Ctrl-C stops cleanly with a checkpoint; twice ends at once', async (t) => {
  const folder = workplace(t, { max_steps: 100_000 })
  const args = [path.join(folder, 'args.json')]
  const stopped = await fettleRun(args, (line, child) => { if (line.startsWith('step 2/')) child.kill('SIGINT') })
  assert.equal(stopped.code, 130, stopped.err)
  assert.match(stopped.err, /stopping after this step/)
  assert.match(stopped.err, /^stopped after step/m)
  assert.equal(fs.readdirSync(path.join(folder, 'out')).filter((name) => name.startsWith('checkpoint-')).length, 1)
  const terminated = await fettleRun([...args, '--resume_from_checkpoint', 'true'], (line, child) => { if (line.startsWith('step ')) child.kill('SIGTERM') })
  assert.equal(terminated.code, 143, terminated.err)
  let signals = 0
  const ended = await fettleRun([...args, '--overwrite_output_dir'], (line, child) => {
    if (signals > 1) return
    if (line.startsWith('step ') || line.startsWith('stopping')) { signals++; child.kill('SIGINT') }
  })
  assert.equal(ended.code, 130, ended.err)
})

test('a killed worker is exit code 6, bad data 3, a broken model 4', async (t) => {
  const folder = workplace(t, { max_steps: 100_000 })
  let pid = 0
  const killed = await fettleRun([path.join(folder, 'args.json')], (line) => {
    if (!line.startsWith('step 2/')) return
    const log = fs.readFileSync(path.join(folder, 'out', 'metrics.jsonl'), 'utf8')
    pid = (log.split('\n').map((each) => (each ? JSON.parse(each) as RunEvent : null)).find((event) => event?.type === 'started') as { pid: number }).pid
    process.kill(pid, 'SIGKILL')
  })
  assert.equal(killed.code, 6, killed.err)
  assert.match(killed.err, /^error: rank 0 .* was killed by SIGKILL/m)
  assert.match(killed.err, /no checkpoint had been written\s+if memory was short, try --per_device_train_batch_tokens 512 --recompute true/)
  assert.doesNotMatch(killed.err, /\.resume\(\)|\.batch\(\)/)
  assert.ok(!isAlive(pid))
  fs.appendFileSync(path.join(folder, 'data', 'train.json'), '{"src": "a"}\n')
  const bad = await fettleRun([path.join(folder, 'args.json')])
  assert.equal(bad.code, 3, bad.err)
  assert.match(bad.err, /train\.json:12/)
  fs.writeFileSync(path.join(folder, 'model', 'config.json'), '{')
  assert.equal((await fettleRun([path.join(folder, 'args.json')])).code, 4)
})

test('--detach leaves the run to itself once it trains', async (t) => {
  const folder = workplace(t, { max_steps: 100_000 })
  const { code, err } = await fettleRun([path.join(folder, 'args.json'), '--detach'])
  assert.equal(code, 0, err)
  const pid = Number(/^process (\d+) goes on by itself: .*attach\(/m.exec(err)![1])
  assert.ok(isAlive(pid))
  const run = await attach(path.join(folder, 'out'))
  assert.equal((await run.stop()).stopped, true)
  run.close()
  for (const until = Date.now() + 10_000; isAlive(pid) && Date.now() < until;) await new Promise((resolve) => setTimeout(resolve, 50))
  assert.ok(!isAlive(pid))
})

test('ranks and GPUs that do not fit each other are refused by name', async (t) => {
  const file = path.join(workplace(t, { max_steps: 1 }), 'args.json')
  const refused: [string[], RegExp][] = [
    [['--gpus', '0,1,2', '--tensor_parallel_degree', '2'], /gpus names 3 ranks, which tensor_parallel_degree 2 does not divide\s+try 2 or 4 ranks/], [['--ranks', '0'], /at least 1, or null for --ranks, got 0/],
    [['--gpus', '0,0'], /each once, or null for --gpus, got \[0,0\]\s+try --gpus 0,1/], [['--gpus', 'all'], /numbers of GPUs.* for --gpus, got "all"\s+try --gpus 0,1/], [['--gpus', '0,1', '--ranks', '3'], /names 2 and ranks says 3/],
  ]
  for (const [flags, pattern] of refused) {
    const { code, err } = await fettleRun([file, ...flags])
    assert.equal(code, 2)
    assert.match(err, pattern)
  }
  const { code, err } = await fettleRun([file, '--ranks', '1', '--device', 'cpu', '--recompute'])
  assert.equal(code, 0, err)
  assert.doesNotMatch(err, /computed again/)
})

test('a mesh that cannot be names arguments here, and calls in a script', () => {
  const caught = (): unknown => { try { refuseMesh(parseMesh('tp=3,dp=2'), { heads: 4, kvHeads: 4, intermediateSize: 8, layers: 1 }, null) } catch (error) { return error } }
  const { message } = caught() as Error
  assert.match(message, /^tp 3 does not divide the model's 4 attention heads; try \.tp\(2\)\.dp\(3\) or /)
  assert.match((inArguments(caught()) as Error).message, /^tp 3 does not divide the model's 4 attention heads; try --tensor_parallel_degree 2 --data_parallel_degree 3 or /)
  assert.equal(inArguments(message), message)
})
