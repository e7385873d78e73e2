import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { repoRoot } from '../../support/paths'
import { temporaryFolder, tinyData, tinyModel } from '../../support/tiny'

/** Two hosts as network namespaces, joined by one cable; each reaches the other, and nothing else. */
function hosts(t: TestContext): { readonly names: readonly string[]; readonly master: string } {
  const names = [0, 1].map((i) => `fettle-${process.pid}-${i}`), ip = (...args: string[]): void => { execFileSync('ip', args) }
  t.after(() => names.forEach((name) => spawnSync('ip', ['netns', 'del', name])))
  names.forEach((name) => ip('netns', 'add', name))
  ip('link', 'add', 'cable0', 'netns', names[0], 'type', 'veth', 'peer', 'name', 'cable1', 'netns', names[1])
  names.forEach((name, i) => {
    ip('-n', name, 'addr', 'add', `10.77.0.${i + 1}/24`, 'dev', `cable${i}`)
    for (const device of ['lo', `cable${i}`]) ip('-n', name, 'link', 'set', device, 'up')
    // A slow and distant cable, or where the kernel knows no delay a slow one.
    const shape = (...how: string[]): boolean => spawnSync('tc', ['-n', name, 'qdisc', 'add', 'dev', `cable${i}`, 'root', ...how]).status === 0
    assert.ok(shape('netem', 'delay', '1ms', 'rate', '100mbit') || shape('tbf', 'rate', '100mbit', 'burst', '64kb', 'latency', '50ms'), 'neither netem nor tbf shapes the cable')
  })
  return { names, master: '10.77.0.1' }
}

function canMakeHosts(): boolean {
  const name = `fettle-${process.pid}-try`, made = spawnSync('ip', ['netns', 'add', name]).status === 0
  if (made) spawnSync('ip', ['netns', 'del', name])
  return made
}

const skip = canMakeHosts() ? false : 'network namespaces cannot be made here: needs iproute2 and root'

/** Losses of a run whose ranks each live on a host. */
async function losses(t: TestContext, degrees: Record<string, unknown>, launch: (args: readonly string[]) => Promise<number[]>): Promise<number[]> {
  const folder = temporaryFolder(t), out = path.join(folder, 'out'), file = path.join(folder, 'arguments.json')
  fs.writeFileSync(file, JSON.stringify({
    model_name_or_path: tinyModel(path.join(folder, 'model')), dataset_name_or_path: tinyData(path.join(folder, 'data'), 24), output_dir: out, do_train: true, max_steps: 5,
    per_device_train_batch_size: 2, gradient_accumulation_steps: 2, learning_rate: 1e-3, src_length: 32, max_length: 64, chat_template: 'none', device: 'cpu', save_strategy: 'no', ...degrees,
  }))
  assert.deepEqual(new Set(await launch([file])), new Set([0]))
  const events = fs.readFileSync(path.join(out, 'metrics.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { type: string; loss: number })
  return events.filter(({ type }) => type === 'step').map(({ loss }) => loss)
}

function ended(command: string, args: readonly string[], env: Record<string, string>): Promise<number> {
  return new Promise((resolve) => spawn(command, args, { env: { ...process.env, ...env }, stdio: 'ignore' }).on('exit', (code) => resolve(code ?? -1)))
}

const fettle = path.join(repoRoot, 'sdk', 'bin', 'fettle.js')

for (const degrees of [{ tensor_parallel_degree: 2 }, { pipeline_parallel_degree: 2 }, { sharding: 'stage3', sharding_parallel_degree: 2 }]) {
  test(`ranks on two hosts learn what one rank does: ${JSON.stringify(degrees)}`, { skip }, async (t) => {
    const { names, master } = hosts(t), data = 'sharding' in degrees
    const together = await losses(t, degrees, (args) => Promise.all(names.map((name, rank) => ended('ip', ['netns', 'exec', name, process.execPath, fettle, 'run', ...args], {
      FETTLE_RANK: String(rank), FETTLE_WORLD_SIZE: '2', FETTLE_LOCAL_RANK: '0', FETTLE_LOCAL_WORLD_SIZE: '1', FETTLE_MASTER_ADDR: master, FETTLE_MASTER_PORT: '29871',
    }))))
    const alone = await losses(t, data ? { per_device_train_batch_size: 4 } : {}, async (args) => [await ended(process.execPath, [fettle, 'run', ...args], {})])
    assert.equal(together.length, 5)
    together.forEach((loss, i) => assert.ok(Math.abs(loss / alone[i] - 1) <= 1e-5, `step ${i + 1}: ${loss}, alone ${alone[i]}`))
  })
}
