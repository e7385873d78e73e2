import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { pack, type Headers } from 'tar-stream'
import { DataError, dataset, sft } from 'fettle'
import { unpack } from 'fettle/dist/data/builtin/unpack'
import { builtinOf, type BuiltinData } from 'fettle/dist/data/builtin/catalog'
import { resolveData } from 'fettle/dist/data/builtin/resolve'
import { bareHubs, environment } from '../../support/environment'
import { refusalOf } from '../../support/refusal'
import { closing } from '../../support/runs'
import { localServer, sendContent } from '../../support/server'
import { temporaryFolder, tinyModel } from '../../support/tiny'
import type { Trouble } from './hub-server'

type Entry = readonly [header: Partial<Headers> & { name: string }, content?: string | Buffer]

async function archive(...entries: Entry[]): Promise<Buffer> {
  const tar = pack(), parts: Buffer[] = []
  for (const [header, content] of entries) tar.entry(header as Headers, content as string)
  tar.finalize()
  for await (const part of tar) parts.push(part as Buffer)
  return gzipSync(Buffer.concat(parts), { level: 1 })
}

const lines = (count: number, row: (i: number) => object) => Array.from({ length: count }, (_, i) => `${JSON.stringify(row(i))}\n`).join('')
const advertise = (i: number) => ({ content: `类型#裙*颜色#${i}`, summary: `裙${i}` })
const name = 'AdvertiseGen'

interface Mirror { readonly requests: { method: string; range: string | undefined }[]; content: Buffer; headers: Record<string, string>; trouble: Trouble | undefined }

/** Serves the archive as the object store does, and points the environment at it. */
async function mirror(t: TestContext, content: Buffer): Promise<{ server: Mirror; cache: string }> {
  const home = bareHubs(t), md5 = createHash('md5').update(content).digest()
  const server: Mirror = { requests: [], content, headers: { 'content-md5': md5.toString('base64'), etag: `"${md5.toString('hex')}"` }, trouble: undefined }
  const url = await localServer(t, (request, response) => {
    server.requests.push({ method: request.method!, range: request.headers.range })
    if (request.url !== '/datasets/AdvertiseGen.tar.gz') return void response.writeHead(404).end()
    if (!server.trouble?.(request, response)) sendContent(request, response, server.content, server.headers)
  })
  environment(t, { FETTLE_DATASETS_URL: `${url}/datasets/` })
  return { server, cache: path.join(home, 'fettle', 'hub', 'datasets--AdvertiseGen') }
}

/** As large as the real one in rows, with its field names of another copy. */
const whole = archive(
  [{ name: 'AdvertiseGen/', type: 'directory' }], [{ name: 'AdvertiseGen/._train.json' }, 'no'], [{ name: 'AdvertiseGen/README' }, 'no'],
  [{ name: 'AdvertiseGen/train.json' }, lines(114_599, advertise)], [{ name: 'AdvertiseGen/dev.json' }, `${lines(1_069, (i) => ({ src: String(i), tgt: 'b', more: 1 }))}\n${JSON.stringify({ src: 'é', tgt: 'end' })}`],
)

test('the built-in data set is fetched, checked, unpacked and kept; a cut connection is taken up', { timeout: 60_000 }, async (t) => {
  const content = await whole, { server, cache } = await mirror(t, content)
  let cuts = 1
  server.trouble = (request, response) => {
    if (request.method === 'HEAD' || cuts-- <= 0) return false
    response.writeHead(200, { 'content-length': content.length })
    response.write(content.subarray(0, content.length >> 1), () => setTimeout(() => response.destroy(), 30))
    return true
  }
  const stages = new Set<string>()
  const folder = await resolveData(name, ({ stage }) => stages.add(stage))
  assert.deepEqual([folder, fs.readdirSync(folder).sort(), fs.readdirSync(cache)], [path.join(cache, 'rows'), ['dev.json', 'train.json'], ['rows']])
  assert.deepEqual([...stages].sort(), ['download', 'list', 'unpack', 'wait'])
  assert.ok(server.requests[2].range, 'goes on where it stopped')
  const rows = (split: string) => fs.readFileSync(path.join(folder, `${split}.json`), 'utf8').trimEnd().split('\n')
  assert.deepEqual([rows('train').length, rows('train')[1], rows('dev').length, rows('dev')[1069]], [114_599, '{"src":"类型#裙*颜色#1","tgt":"裙1"}', 1_070, '{"src":"é","tgt":"end"}'])
  const count = server.requests.length
  assert.equal(await resolveData(name), folder)
  assert.equal(server.requests.length, count, 'asks nobody again')
  environment(t, { HF_HUB_OFFLINE: '1' })
  assert.equal(await resolveData(name), folder)
})

test('what cannot be fetched is told with the remedy', async (t) => {
  const content = await archive([{ name: 'train.json' }, lines(9, advertise)]), { server, cache } = await mirror(t, content)
  await refusalOf(resolveData(name), 'data.archive', 'train.json has 9 rows, expected about 114599')
  assert.ok(!fs.existsSync(path.join(cache, 'rows')))
  server.headers = { 'content-md5': createHash('md5').update('other').digest('base64') }
  await refusalOf(resolveData(name), 'data.hash', 'FETTLE_DATASETS_URL')
  server.headers = { etag: '"-in-parts-2"' }
  await refusalOf(resolveData(name), 'data.archive')
  assert.deepEqual(fs.readdirSync(cache), [], 'nothing of it is kept')
  server.trouble = (_, response) => { response.writeHead(403).end(); return true }
  await refusalOf(resolveData(name), 'data.unauthorized', '403', 'FETTLE_DATASETS_URL')
  server.trouble = (_, response) => { response.writeHead(404).end(); return true }
  assert.ok(await refusalOf(resolveData(name), 'data.notFound', 'FETTLE_DATASETS_URL') instanceof DataError)
  server.trouble = (_, response) => { response.writeHead(200, { 'transfer-encoding': 'chunked' }).end(); return true }
  await refusalOf(resolveData(name), 'data.hub', 'size')
  environment(t, { FETTLE_DATASETS_URL: 'http://127.0.0.1:9' })
  await refusalOf(resolveData(name), 'data.network', '127.0.0.1:9', 'a folder with train.json')
  environment(t, { HF_HUB_OFFLINE: '1' })
  await refusalOf(resolveData(name), 'data.offline', 'HF_HUB_OFFLINE')
})

test('an archive that leaves its folder, links, grows without end or is broken is refused', async (t) => {
  const folder = temporaryFolder(t), set: BuiltinData = { ...builtinOf(name)!, rows: { train: 4, dev: 2 }, mostBytes: 1 << 20 }
  const good: Entry[] = [[{ name: 'A/train.json' }, lines(4, advertise)], [{ name: 'A/dev.json' }, lines(2, advertise)]]
  const file = path.join(folder, 'a.tar.gz')
  const unpacked = async (content: Buffer): Promise<void> => {
    fs.writeFileSync(file, content)
    await unpack(file, path.join(folder, 'inner', 'rows'), set)
  }
  await unpacked(await archive(...good))
  const bad: (readonly [what: string, content: Buffer, word: string])[] = [
    ['up', await archive([{ name: '../train.json' }, lines(4, advertise)], ...good), 'outside its folder'],
    ['inside up', await archive([{ name: 'A/../../train.json' }, 'x'], ...good), 'outside its folder'],
    ['absolute', await archive([{ name: '/train.json' }, 'x'], ...good), 'outside its folder'],
    ['backslash', await archive([{ name: '..\\train.json' }, 'x'], ...good), 'outside its folder'],
    ['drive', await archive([{ name: 'C:train.json' }, 'x'], ...good), 'outside its folder'],
    ['symlink', await archive([{ name: 'A/train.json', type: 'symlink', linkname: '/etc/passwd' }], ...good), 'no plain file'],
    ['link', await archive([{ name: 'A/x', type: 'link', linkname: 'train.json' }], ...good), 'no plain file'],
    ['device', await archive([{ name: 'A/x', type: 'character-device' }], ...good), 'no plain file'],
    ['bomb', await archive([{ name: 'A/zeros' }, Buffer.alloc(4 << 20)], ...good), 'unpacks to more than'],
    ['bomb in a split', await archive([{ name: 'A/train.json' }, Buffer.alloc(4 << 20, ' ')]), 'unpacks to more than'],
    ['many', await archive(...Array.from({ length: 101 }, (_, i): Entry => [{ name: `A/${i}` }, 'x']), ...good), 'more than 100 entries'],
    ['twice', await archive(...good, good[0]), 'two files train.json'],
    ['cut', (await archive(...good)).subarray(0, -20), 'broken'],
    ['crc', ((content) => { content[content.length - 6] ^= 1; return content })(await archive(...good)), 'broken'],
    ['no gzip', Buffer.from('<html>'), 'broken'],
    ['few rows', await archive([{ name: 'train.json' }, lines(3, advertise)], good[1]), 'has 3 rows, expected about 4'],
    ['no dev', await archive(good[0]), 'has no dev.json'],
  ]
  for (const [what, content, word] of bad) await refusalOf(unpacked(content), 'data.archive', word).catch((error: Error) => { throw new Error(`${what}: ${error.message}`) })
  await refusalOf(unpacked(await archive([{ name: 'train.json' }, `${lines(3, advertise)}{"src": 1`], good[1])), 'data.line', 'train.json:4')
  await refusalOf(unpacked(await archive([{ name: 'train.json' }, lines(4, () => ({ question: 'a' }))], good[1])), 'data.line', 'train.json:1', 'got question')
  assert.deepEqual(fs.readdirSync(folder).sort(), ['a.tar.gz', 'inner'])
  assert.deepEqual(fs.readdirSync(path.join(folder, 'inner')), ['rows'])
})

test('two processes share one download; a run and a look at the data take the set by name', { timeout: 60_000 }, async (t) => {
  const { server, cache } = await mirror(t, await whole)
  const other = spawn(process.execPath, ['-e', `require('fettle/dist/data/builtin/resolve').resolveData('${name}').then(console.log)`], { cwd: __dirname, stdio: ['ignore', 'pipe', 'inherit'] })
  const said = new Promise<string>((resolve) => { let out = ''; other.stdout.on('data', (data) => { out += data }).on('end', () => resolve(out.trim())) })
  assert.deepEqual(await Promise.all([said, resolveData(name)]), [path.join(cache, 'rows'), path.join(cache, 'rows')])
  assert.equal(server.requests.filter(({ method }) => method === 'GET').length, 1)
  // Small rows in its place: tokenising all takes its time.
  for (const split of ['train', 'dev']) fs.writeFileSync(path.join(cache, 'rows', `${split}.json`), lines(6, (i) => ({ src: `n ${i}`, tgt: 'abc' })))
  const folder = temporaryFolder(t), model = tinyModel(path.join(folder, 'model'))
  assert.equal((await dataset(name, { model, maxLength: 64 })).count, 6)
  const plan = sft(model).data(name, { maxLength: 64 }).lora({ rank: 2 }).steps(1).batch(2).save({ each: 'never' }).threads(1).output(path.join(folder, 'out'))
  await assert.rejects(plan.predict().start(), (error) => error instanceof DataError && error.code === 'data.not-found')
  const run = closing(t, await plan.start())
  assert.equal((await run.done).steps, 1)
  assert.equal(run.plan.data.path, name)
})
