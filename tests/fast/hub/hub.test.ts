import * as assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { resolveModel, type ModelProgress } from 'fettle/dist/models/weights'
import { fakeHub, refuse, type FakeHub } from './hub-server'
import { bareHubs, environment } from '../../support/environment'
import { refusalOf } from '../../support/refusal'

const big = randomBytes(3 << 20)
const name = 'org/tiny-model'
const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const repositories = {
  [name]: {
    'config.json': json({ model_type: 'llama' }), 'tokenizer.json': json({ version: '1.0' }), 'tokenizer_config.json': json({}), 'chat_template.jinja': Buffer.from('é'),
    'model.safetensors': big, 'README.md': Buffer.from('no'), 'pytorch_model.bin': Buffer.from('no'), 'onnx/model.onnx': Buffer.from('no'),
  },
  'org/sharded': {
    'config.json': json({}), 'model.safetensors.index.json': json({ weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' } }),
    'model-1.safetensors': Buffer.from('one'), 'model-2.safetensors': Buffer.from('two'), 'model-3.safetensors': Buffer.from('no'),
  },
  'org/one-gguf': { 'm.gguf': Buffer.from('GGUF') },
  'org/two-gguf': { 'a.gguf': Buffer.from('GGUF a'), 'b.gguf': Buffer.from('GGUF b') },
  'org/pickled': { 'config.json': json({}), 'pytorch_model.bin': Buffer.from('pickle') },
  'org/pickled-shards': {
    'config.json': json({}), 'pytorch_model.bin.index.json': json({ weight_map: { a: 'pytorch_model-00001-of-00001.bin' } }), 'pytorch_model-00001-of-00001.bin': Buffer.from('one'), 'ice_text.model': Buffer.from('t'),
  },
  'org/adapter': { 'adapter_config.json': json({}), 'adapter_model.safetensors': Buffer.from('no') },
}

/** A hub, an empty cache and no wait between attempts. */
async function setup(t: TestContext): Promise<{ hub: FakeHub; home: string }> {
  const hub = await fakeHub(t, repositories)
  const home = bareHubs(t)
  environment(t, { HF_ENDPOINT: `${hub.url}/` })
  return { hub, home }
}

test('a model is fetched once, only what is needed, with progress', async t => {
  const { hub } = await setup(t)
  const seen: ModelProgress[] = []
  const folder = await resolveModel(name, { onProgress: p => seen.push(p) })
  assert.deepEqual(readdirSync(folder).sort(), ['.fettle-complete.json', 'chat_template.jinja', 'config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
  assert.ok(readFileSync(path.join(folder, 'model.safetensors')).equals(big))
  const last = seen[seen.length - 1]
  assert.equal(last.received, last.total)
  assert.ok(last.total! > big.length)
  for (let i = 1; i < seen.length; i++) assert.ok(seen[i].received >= seen[i - 1].received)
  const count = hub.requests.length
  assert.equal(await resolveModel(name), folder)
  assert.equal(hub.requests.length, count, 'a second look-up asks nobody')
  assert.equal(await resolveModel(name, { revision: 'v1' }), folder, 'the same commit under another name')
  await refusalOf(resolveModel(name, { revision: 'v9' }), 'model.revision', 'no such revision')
})

test('the token goes to the hub', async t => {
  const { hub, home } = await setup(t)
  mkdirSync(path.join(home, 'hf'))
  writeFileSync(path.join(home, 'hf', 'token'), 'hf_file\n')
  await resolveModel('org/one-gguf')
  assert.ok(hub.requests.every(r => r.authorization === 'Bearer hf_file'))
  process.env.HUGGING_FACE_HUB_TOKEN = 'other-form'
  await resolveModel('org/sharded')
  assert.equal(hub.requests[hub.requests.length - 1].authorization, 'Bearer other-form')
})

test('shards of the index, a lone .gguf, one of several', async t => {
  await setup(t)
  const sharded = await resolveModel('org/sharded')
  assert.deepEqual(readdirSync(sharded).filter(f => f.startsWith('model')).sort(), ['model-1.safetensors', 'model-2.safetensors', 'model.safetensors.index.json'])
  assert.equal(readFileSync(await resolveModel('org/one-gguf'), 'utf8'), 'GGUF')
  await refusalOf(resolveModel('org/two-gguf'), 'model.files', '2 .gguf files', 'org/two-gguf/a.gguf')
  const file = await resolveModel('org/two-gguf/b.gguf')
  assert.equal(readFileSync(file, 'utf8'), 'GGUF b')
  assert.equal(await resolveModel('org/two-gguf/b.gguf'), file)
  await refusalOf(resolveModel('org/two-gguf'), 'model.files')
  await refusalOf(resolveModel('org/two-gguf/c.gguf'), 'model.files', 'a.gguf, b.gguf')
  assert.deepEqual(readdirSync(await resolveModel('org/pickled')).sort(), ['.fettle-complete.json', 'config.json', 'pytorch_model.bin'])
  assert.deepEqual(readdirSync(await resolveModel('org/pickled-shards')).sort(), ['.fettle-complete.json', 'config.json', 'ice_text.model', 'pytorch_model-00001-of-00001.bin', 'pytorch_model.bin.index.json'])
  await refusalOf(resolveModel('org/adapter'), 'model.files', 'adapter')
})

test('a broken connection is taken up where it stopped', async t => {
  const { hub } = await setup(t)
  let breaks = 2
  hub.trouble = (request, response) => {
    if (!request.url!.includes('/resolve/') || !request.url!.endsWith('model.safetensors') || breaks-- <= 0) return false
    const from = Number(/\d+/.exec(request.headers.range ?? '0')![0])
    response.writeHead(from ? 206 : 200, { 'content-length': big.length - from })
    response.write(big.subarray(from, from + (1 << 20)), () => setTimeout(() => response.destroy(), 50))
    return true
  }
  const folder = await resolveModel(name)
  assert.ok(readFileSync(path.join(folder, 'model.safetensors')).equals(big))
  const ranges = hub.requests.filter(r => r.path.endsWith('model.safetensors')).map(r => r.range)
  assert.equal(ranges[0], undefined)
  assert.ok(ranges.length === 3 && ranges[1] && ranges[2] && ranges[1] !== ranges[2], String(ranges))
})

test('a part that an earlier run left is continued; a server without ranges starts anew; a spoilt part is fetched again', async t => {
  const { hub, home } = await setup(t)
  const folder = await resolveModel(name)
  const target = path.join(folder, 'model.safetensors')
  const fresh = (part: Buffer) => {
    rmSync(path.join(home, 'fettle', 'hub', 'models--org--tiny-model', 'refs'), { recursive: true })
    rmSync(path.join(folder, '.fettle-complete.json'))
    rmSync(target)
    writeFileSync(`${target}.part`, part)
    hub.requests.length = 0
  }
  const ranges = () => hub.requests.filter(r => r.path.endsWith('model.safetensors')).map(r => r.range)
  fresh(big.subarray(0, 1000))
  await resolveModel(name)
  assert.deepEqual(ranges(), ['bytes=1000-'])
  assert.ok(readFileSync(target).equals(big))

  fresh(Buffer.alloc(1000))
  await resolveModel(name)
  assert.deepEqual(ranges(), ['bytes=1000-', undefined])
  assert.ok(readFileSync(target).equals(big))

  fresh(big.subarray(0, 500))
  hub.trouble = (request, response) => {
    if (!request.url!.includes('/resolve/')) return false
    response.writeHead(200).end(big)
    return true
  }
  await resolveModel(name)
  assert.ok(readFileSync(target).equals(big))
  fresh(Buffer.concat([big, big]))
  await resolveModel(name)
  assert.ok(readFileSync(target).equals(big))
})

test('altered content is refused and not kept', async t => {
  const { hub, home } = await setup(t)
  hub.trouble = (request, response) => {
    if (!request.url!.endsWith('/tokenizer.json')) return false
    response.writeHead(200).end('{"version":"9.9"}'.slice(0, repositories[name]['tokenizer.json'].length))
    return true
  }
  await refusalOf(resolveModel(name), 'model.hash', 'tokenizer.json', 'expected')
  const snapshots = path.join(home, 'fettle', 'hub', 'models--org--tiny-model', 'snapshots')
  assert.ok(!readdirSync(snapshots, { recursive: true }).some(f => String(f).includes('tokenizer.json')))
  hub.trouble = undefined
  assert.ok(existsSync(path.join(await resolveModel(name), 'tokenizer.json')))
})

test('the hub\'s refusals become typed errors that say what to do', async t => {
  const { hub } = await setup(t)
  await refusalOf(resolveModel('org/nothing'), 'model.notFound', 'no token is set', 'ORGANISATION/MODEL', 'builtin:smollm2-135m')
  const answers: [number, string, string, string[]][] = [
    [403, 'GatedRepo', 'model.gated', ['accept its terms', '/org/tiny-model', 'HF_TOKEN']],
    [401, 'GatedRepo', 'model.gated', ['no token is set']],
    [401, 'RepoNotFound', 'model.notFound', ['private']],
    [401, '', 'model.unauthorized', ['401']],
    [403, '', 'model.unauthorized', ['HF_TOKEN']],
    [418, '', 'model.hub', ['418']],
  ]
  for (const [status, code, expected, words] of answers) {
    hub.trouble = (_, response) => { refuse(response, status, code, 'no'); return true }
    await refusalOf(resolveModel(name), expected, ...words)
  }
  process.env.HF_TOKEN = 'hf_wrong'
  hub.trouble = (_, response) => { refuse(response, 403, 'GatedRepo', 'no'); return true }
  const error = await refusalOf(resolveModel(name), 'model.gated', 'the token that is set does not give access')
  assert.ok(!JSON.stringify(error).includes('hf_wrong'), 'an error never shows the token')
})

test('429 and 5xx are waited out as the server asks', async t => {
  const { hub } = await setup(t)
  let left = 3
  hub.trouble = (_, response) => {
    if (left-- <= 0) return false
    refuse(response, left === 1 ? 503 : 429, '', 'slow down', left === 2 ? { 'retry-after': '1' } : {})
    return true
  }
  const notes: string[] = []
  const started = Date.now()
  await resolveModel('org/one-gguf', { onProgress: p => notes.push(p.message) })
  assert.ok(Date.now() - started >= 1000)
  assert.ok(notes.some(n => n.includes('answered 429; trying again in 1 s')), notes.join('\n'))
  hub.trouble = (_, response) => { refuse(response, 429, '', 'no', { 'retry-after': '3600' }); return true }
  await refusalOf(resolveModel(name), 'model.rateLimited', 'limits the rate')
})

test('a disk without room is told before the download', async t => {
  const { hub } = await setup(t)
  hub.trouble = (request, response) => {
    if (!request.url!.includes('/tree/')) return false
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify([{ type: 'file', path: 'm.gguf', size: 1e15, oid: 'a', lfs: { oid: 'b', size: 1e15, pointerSize: 1 } }]))
    return true
  }
  await refusalOf(resolveModel('org/one-gguf'), 'model.disk', 'm.gguf needs 1000000.00 GB', 'FETTLE_HOME')
  assert.ok(!hub.requests.some(r => r.path.includes('/resolve/')))
})

test('no network, and offline', async t => {
  await setup(t)
  const folder = await resolveModel('org/sharded')
  process.env.HF_ENDPOINT = 'http://127.0.0.1:9'
  await refusalOf(resolveModel(name), 'model.network', '127.0.0.1:9', 'HF_ENDPOINT')
  process.env.HF_HUB_OFFLINE = '1'
  assert.equal(await resolveModel('org/sharded'), folder)
  await refusalOf(resolveModel('org/shardex'), 'model.offline', 'HF_HUB_OFFLINE', 'org/sharded')
})

test('Python\'s cache is used when it holds the whole model', async t => {
  const { hub, home } = await setup(t)
  const cached = path.join(home, 'hf', 'hub', 'models--org--shared')
  const snapshot = path.join(cached, 'snapshots', 'abc')
  mkdirSync(path.join(cached, 'refs'), { recursive: true })
  mkdirSync(snapshot, { recursive: true })
  writeFileSync(path.join(cached, 'refs', 'main'), 'abc')
  writeFileSync(path.join(snapshot, 'config.json'), '{}')
  writeFileSync(path.join(snapshot, 'model.safetensors.index.json'), '{"weight_map":{"a":"s.safetensors"}}')
  await refusalOf(resolveModel('org/shared'), 'model.notFound')
  writeFileSync(path.join(snapshot, 's.safetensors'), '')
  hub.requests.length = 0
  assert.equal(await resolveModel('org/shared'), snapshot)
  assert.equal(hub.requests.length, 0)
})

test('two processes share one download', { timeout: 60_000 }, async t => {
  const { hub } = await setup(t)
  hub.trouble = (request, response) => {
    if (!request.url!.endsWith('/model.safetensors')) return false
    response.writeHead(200, { 'content-length': big.length })
    setTimeout(() => response.end(big), 500)
    return true
  }
  const code = `require('fettle/dist/models/weights').resolveModel('${name}').then(console.log, e => { console.error(e.message); process.exit(1) })`
  const run = () => new Promise<string>((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', code], { cwd: __dirname, stdio: ['ignore', 'pipe', 'inherit'] })
    let out = ''
    child.stdout.on('data', chunk => { out += String(chunk) })
    child.on('close', status => (status === 0 ? resolve(out.trim()) : reject(new Error(`exit ${status}`))))
  })
  const [a, b, c] = await Promise.all([run(), run(), resolveModel(name)])
  assert.equal(a, c)
  assert.equal(b, c)
  assert.equal(hub.requests.filter(r => r.path.endsWith('/model.safetensors')).length, 1)
})
