import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { toYaml, type Plain } from 'fettle/dist/parallel/launch/jobs/yaml'
import { rankFromEnvironment } from 'fettle/dist/parallel/launch/environment'
import { parse, parseAllDocuments } from 'yaml'
import { fettle } from '../../support/launch'
import { fixture } from '../../support/paths'
import { without } from '../../support/programs'
import { temporaryFolder } from '../../support/tiny'

/** An argument file whose run writes to a folder with a space. */
function argumentFile(t: TestContext, more: object = {}, name = 'Llama_SFT.json'): string {
  const file = path.join(temporaryFolder(t), name)
  fs.writeFileSync(file, JSON.stringify({ output_dir: 'output/first run', tensor_parallel_degree: 4, ...more }))
  return file
}

async function made(t: TestContext, kind: string, ...flags: string[]): Promise<string> {
  const file = argumentFile(t)
  const { code, stdout, stderr } = await fettle(['job', kind, file, '--nodes', '2', '--ranks-per-node', '4', ...flags])
  assert.equal(code, 0, stderr)
  return stdout.replaceAll(file, 'arguments/Llama_SFT.json')
}

const pod = ['--image', 'site/fettle:0.1', '--claim', 'workspace', '--gpus', '--cpus-per-rank', '8', '--memory', '64Gi']
const kept: [string, string, string[]][] = [
  ['slurm', 'sbatch', ['--gpus', '--cpus-per-rank', '8', '--time', '4:00:00', '--partition', 'gpu', '--account', 'lab', '--', '--max_steps', '200']],
  ['kubernetes', 'yaml', pod], ['trainjob', 'yaml', pod], ['pytorchjob', 'yaml', pod], ['torchrun', 'txt', ['--master', 'node1']],
]
for (const [kind, end, flags] of kept) {
  test(`fettle job ${kind} prints what was looked at and kept (UPDATE=1 to keep anew)`, async (t) => {
    const text = await made(t, kind, ...flags), file = fixture('launch', `job-${kind}.${end}`)
    if (process.env.UPDATE === '1') fs.writeFileSync(file, text)
    assert.equal(text, fs.readFileSync(file, 'utf8'))
  })
}

test('the script for sbatch is a script: bash reads it, shellcheck finds nothing where it is installed', async (t) => {
  for (const flags of [[], ['--gpus', '--cpus-per-rank', '2', '--', '--output_dir', "it's $HOME"]]) {
    const text = await made(t, 'slurm', ...flags)
    assert.match(text, flags.includes('--output_dir') ? /^output='it'\\''s \$HOME'$/m : /^output='output\/first run'$/m)
    assert.equal(spawnSync('bash', ['-n'], { input: text }).status, 0)
    if (without('shellcheck')) continue
    const { stdout, status } = spawnSync('shellcheck', ['-S', 'warning', '-'], { input: text, encoding: 'utf8' })
    assert.equal(status, 0, stdout)
  }
})

test('a pod of the Kubernetes job is a node of as many ranks, which meet on the first pod', async (t) => {
  const [service, policy, job] = parseAllDocuments(await made(t, 'kubernetes', '--image', 'i')).map((document) => document.toJS())
  assert.deepEqual([service.kind, policy.kind, job.kind], ['Service', 'NetworkPolicy', 'Job'])
  const container = job.spec.template.spec.containers[0]
  const env = Object.fromEntries(container.env.map(({ name, value }: { name: string; value: string }) => [name, value]))
  assert.throws(() => rankFromEnvironment({ ...env, JOB_COMPLETION_INDEX: '1' }), { code: 'launch.node', message: /4 ranks on this node/ })
  assert.equal(env.FETTLE_MASTER_ADDR, `${job.metadata.name}-0.${job.spec.template.spec.subdomain}`)
  assert.equal(job.spec.template.spec.subdomain, service.metadata.name)
  assert.deepEqual(policy.spec.podSelector.matchLabels, service.spec.selector)
  assert.deepEqual(container.command.slice(0, 5), ['node_modules/.bin/fettle', 'launch', '--', 'run', 'arguments/Llama_SFT.json'])
  assert.equal(container.resources, undefined)
})

test('YAML as a library reads it again', () => {
  const values: Plain[] = [
    { a: 1, b: 'yes', c: ['no', 'x: y', '- z', '# k', '', ' s', '1', '1e3', '~', 'ü', 'line\nbreak', '*a', '&b', '!c', '0x1', 'null'], d: {}, e: [], f: { g: [{ h: true, i: [[1, 2], { j: 'k' }] }] } },
    ['a'], [[]], 'text', 4, true, { 'a b': { '1': 'c' } },
  ]
  for (const value of values) assert.deepEqual(parse(toYaml(value)), value)
  assert.equal(toYaml({ a: undefined, b: 1 }), 'b: 1\n')
})

test('what cannot be a job is refused, with what to do', async (t) => {
  const file = argumentFile(t), degrees = argumentFile(t, { pipeline_parallel_degree: 2, sharding_parallel_degree: -1 }), bare = argumentFile(t, { output_dir: undefined })
  const cases: [string[], RegExp][] = [
    [[], /expected a cluster/], [['slurm'], /expected ARGS\.json/], [['slrm', file], /try slurm/], [['toString', file], /expected a known cluster/], [['slurm', '/nowhere.json'], /nowhere\.json cannot be read/],
    [['slurm', file, '--nodes', '3'], /tensor_parallel_degree 4 does not divide the 3 ranks/], [['slurm', degrees, '--ranks-per-node', '4'], /4 × pipeline_parallel_degree 2 does not divide.*\n.*try --nodes 2/],
    [['slurm', bare, '--nodes', '4'], /for output_dir, got nothing/], [['kubernetes', file, '--nodes', '4'], /for --image/], [['slurm', file, '--image', 'x'], /--image has no effect on slurm/],
    [['slurm', file, '--nodes', '4', '--name', 'A B'], /for --name/], [['slurm', file, '--nodes', '4', '--partition', 'a\n#SBATCH --x'], /for --partition/],
  ]
  for (const [args, message] of cases) {
    const { code, stderr } = await fettle(['job', ...args])
    assert.match(stderr, message)
    assert.equal(code, 2, args.join(' '))
  }
})
