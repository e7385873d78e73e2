import * as assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import * as path from 'node:path'
import { test, type TestContext } from 'node:test'
import { resolveModel } from 'fettle/dist/models/weights'
import { bareHubs, environment } from '../../support/environment'
import { refusalOf } from '../../support/refusal'
import { fakeStudio, studioToken, type FakeStudio } from './aistudio-server'

const big = randomBytes(1 << 20), name = 'org/tiny-model'
const repositories = {
  [name]: {
    'config.json': Buffer.from('{"model_type":"llama"}'), 'tokenizer.json': Buffer.from('{}'), 'model.safetensors': big, 'README.md': Buffer.from('no'), '../evil.bin': Buffer.from('no'),
    'model.safetensors.index.json': Buffer.from('{"weight_map":{"a":"model-1.safetensors"}}'), 'model-1.safetensors': Buffer.from('one'),
  },
  'org/paddle': { 'config.json': Buffer.from('{}'), 'model_state.pdparams': randomBytes(500), 'tokenizer_config.json': Buffer.from('{}') },
}

async function setup(t: TestContext): Promise<{ studio: FakeStudio; home: string }> {
  const home = bareHubs(t), studio = await fakeStudio(t, repositories)
  environment(t, { AISTUDIO_ACCESS_TOKEN: studioToken })
  return { studio, home }
}

test('a model of AI Studio is fetched once, checked, with the token', async (t) => {
  const { studio, home } = await setup(t)
  const folder = await resolveModel(`aistudio:${name}`)
  assert.equal(path.dirname(path.dirname(folder)), path.join(home, 'fettle', 'hub', 'aistudio--models--org--tiny-model'))
  assert.deepEqual(readdirSync(folder).sort(), ['.fettle-complete.json', 'config.json', 'model.safetensors', 'tokenizer.json'])
  assert.ok(readFileSync(path.join(folder, 'model.safetensors')).equals(big))
  assert.ok(studio.requests.every(({ authorization }) => authorization === `token ${studioToken}`))
  const count = studio.requests.length
  assert.equal(await resolveModel(`aistudio:${name}`), folder)
  assert.equal(studio.requests.length, count, 'a second look-up asks nobody')
  assert.equal(await resolveModel(`aistudio:${name}`, { revision: 'v1' }), folder, 'a tag of the same state')
  const paddle = await resolveModel('aistudio:org/paddle')
  assert.deepEqual(readdirSync(paddle).sort(), ['.fettle-complete.json', 'config.json', 'model_state.pdparams', 'tokenizer_config.json'])
  environment(t, { HF_HUB_OFFLINE: '1' })
  assert.equal(await resolveModel(`aistudio:${name}`), folder)
  await refusalOf(resolveModel('aistudio:org/tiny-modal'), 'model.offline', `aistudio:${name}`)
})

test("the token of AI Studio's own library is found; wrong ones are told without showing them", async (t) => {
  const { home } = await setup(t)
  environment(t, { AISTUDIO_ACCESS_TOKEN: 'wr0ng' })
  const error = await refusalOf(resolveModel(`aistudio:${name}`), 'model.unauthorized', '401', 'AISTUDIO_ACCESS_TOKEN')
  assert.doesNotMatch(JSON.stringify(error), /wr0ng/, 'the server says it back')
  environment(t, { AISTUDIO_ACCESS_TOKEN: undefined })
  await refusalOf(resolveModel(`aistudio:${name}`), 'model.unauthorized', 'no token is set')
  const file = path.join(home, 'aistudio', '.cache', 'aistudio', '.auth', 'token')
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, `${studioToken}\n`)
  assert.ok(existsSync(await resolveModel(`aistudio:${name}`)))
  await refusalOf(resolveModel('aistudio:org/nothing'), 'model.notFound', 'aistudio:org/nothing')
  writeFileSync(file, 'two\nlines')
  const odd = await refusalOf(resolveModel('aistudio:org/nothing'), 'hub.token', 'AISTUDIO_ACCESS_TOKEN')
  assert.doesNotMatch(JSON.stringify(odd), /lines/)
})

test('altered content is refused; a cut connection is taken up; no network is told', async (t) => {
  const { studio } = await setup(t)
  studio.trouble = (request, response) => {
    if (!request.url!.includes('/media/model_state.pdparams')) return false
    response.writeHead(200).end(randomBytes(500))
    return true
  }
  await refusalOf(resolveModel('aistudio:org/paddle'), 'model.hash', 'model_state.pdparams', 'STUDIO_GIT_HOST')
  let breaks = 1
  studio.trouble = (request, response) => {
    if (!request.url!.endsWith('/media/model.safetensors') || breaks-- <= 0) return false
    response.writeHead(200, { 'content-length': big.length })
    response.write(big.subarray(0, 1 << 19), () => setTimeout(() => response.destroy(), 20))
    return true
  }
  const folder = await resolveModel(`aistudio:${name}`)
  assert.ok(readFileSync(path.join(folder, 'model.safetensors')).equals(big))
  environment(t, { STUDIO_GIT_HOST: 'http://127.0.0.1:9' })
  await refusalOf(resolveModel('aistudio:org/other'), 'model.network', '127.0.0.1:9', 'STUDIO_GIT_HOST')
})
