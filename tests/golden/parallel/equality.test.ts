import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { scope } from 'fettle-native'
import { JoinedParts } from 'fettle/dist/models/weights/parts'
import { largestDifference } from '../../support/golden'
import { ranksOf, visitMeshes } from '../../support/mesh'
import { repoRoot } from '../../support/paths'
import { caseName, families, meshModel, modelName, type Case, type Method, type Trained } from '../../support/mesh-training'

const meshes = [
  'tp=2', 'pp=2', 'pp=2:virtual2', 'dp=2', 'sharding=2:stage1', 'sharding=2:stage2', 'sharding=2:stage3',
  'tp=4', 'pp=4', 'dp=4', 'sharding=4:stage2', 'sharding=4:stage3',
  'pp=2,tp=2', 'dp=2,tp=2', 'sharding=2:stage3,tp=2', 'sharding=2:stage2,pp=2', 'dp=2,sharding=2:stage1',
  'tp=2,sequence', 'pp=2,tp=2,sequence',
]
/** Of these methods fewer meshes: what they change is in the layers alone. */
const fewer = { methods: ['DoRA', 'prefix', 'prefix with encoder'] as Method[], meshes: ['tp=2', 'pp=2:virtual2', 'sharding=2:stage3', 'pp=2,tp=2'] }
const both = ['plain', 'auto'] as const

/** Meshes on which each case runs with both forms of the blocks: one of each axis. On the others they take turns. */
const thorough = ['tp=2', 'pp=2', 'sharding=2:stage3']

/** Where models have four layers: a range of one layer for each of as many chunks, and buffers that layers take in turns. The others have two. */
const deep = ['pp=2:virtual2', 'pp=4', 'sharding=2:stage3', 'sharding=4:stage3', 'sharding=2:stage2,pp=2']

function casesOn(mesh: string): Case[] {
  const at = meshes.indexOf(mesh), layers = deep.includes(mesh) ? 4 : 2
  return families.flatMap((family, f) => [
    ...(['SFT', 'LoRA'] as const).flatMap((method, m) => (thorough.includes(mesh) ? both : [both[(at + f + m) % 2]]).map((blocks): Case => ({ family, method, blocks, layers }))),
    ...(fewer.meshes.includes(mesh) ? fewer.methods.map((method, m): Case => ({ family, method, blocks: both[(at + f + m) % 2], layers })) : []),
  ])
}

/** What one rank trains, to compare all others with. */
const alone = [...new Map(meshes.flatMap(casesOn).map((each) => [caseName(each), each])).values()]
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fettle-equality-')), models = path.join(folder, 'models')

/** Largest differences from one rank: of losses relative, of weights absolute. */
interface Difference { readonly loss: number; readonly weight: number }
const seen = new Map<string, Difference>()

before(async () => {
  for (const family of families) for (const layers of [2, 4] as const) meshModel(path.join(models, modelName({ family, layers })), family, layers)
  const run = (of: readonly string[]): Promise<void> => visitMeshes('mesh-training.js', of, { models, out: folder, cases: Object.fromEntries(['', ...meshes].map((mesh) => [mesh, mesh === '' ? alone : casesOn(mesh)])) })
  const [two, four] = [2, 4].map((ranks) => meshes.filter((mesh) => ranksOf(mesh) === ranks))
  await Promise.all([run(['']), run(two)])
  await run(four)
})
after(() => fs.rmSync(folder, { recursive: true, force: true }))

const told = (mesh: string, each: Case, rank: number): Trained => JSON.parse(fs.readFileSync(path.join(folder, mesh || 'alone', `${caseName(each)}-${rank}.json`), 'utf8')) as Trained
const weights = (mesh: string, each: Case): JoinedParts => new JoinedParts(path.join(folder, mesh || 'alone'), caseName(each), ranksOf(mesh))
const relative = (values: readonly number[], reference: readonly number[]): number => Math.max(...values.map((value, i) => Math.abs(value / reference[i] - 1)))

function compare(mesh: string, each: Case): Difference {
  const one = told('', each, 0), first = told(mesh, each, 0)
  for (let rank = 1; rank < ranksOf(mesh); rank++) assert.deepEqual(told(mesh, each, rank), first, `rank ${rank} says what rank 0 says`)
  // Three steps are an epoch.
  const mean = (losses: readonly number[]): number => losses.reduce((a, b) => a + b, 0) / losses.length, [begin, end] = [mean(one.losses.slice(0, 3)), mean(one.losses.slice(-3))]
  assert.ok(end < begin - 0.02, `it learns: ${begin} → ${end}`)
  const norm = relative(first.norms, one.norms)
  assert.ok(norm <= 1e-4, `gradient norms differ by ${norm}`)
  const own = weights(mesh, each), reference = weights('', each)
  assert.deepEqual(own.names().sort(), reference.names().sort())
  const weight = Math.max(...reference.names().map((name) => scope(() => largestDifference(own.read(name), reference.read(name)))))
  own.close()
  reference.close()
  return { loss: relative(first.losses, one.losses), weight }
}

/** A row for each family and mesh, a column for each method: `loss · weight`, the larger of both forms of the blocks. */
function tableOf(cell: (mesh: string, family: string, method: Method) => string): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`, columns: Method[] = ['SFT', 'LoRA', ...fewer.methods]
  const rows = families.flatMap((family) => meshes.map((mesh) => line([family, `\`${mesh}\``, ...columns.map((method) => cell(mesh, family, method))])))
  return [line(['family', 'mesh', ...columns]), line(['---', '---', ...columns.map(() => '---')]), ...rows].join('\n')
}

function measured(mesh: string, family: string, method: Method): string {
  const found = casesOn(mesh).filter((each) => each.family === family && each.method === method).map((each) => seen.get(`${mesh} ${caseName(each)}`)!), most = (of: keyof Difference): string => Math.max(...found.map((each) => each[of])).toExponential(0).replace('0e+0', '0')
  return found.length === 0 ? '' : `${most('loss')} · ${most('weight')}`
}

const document = path.join(repoRoot, 'docs', 'parallel.md'), marks = /(<!-- equality: written by the test -->\n)([^]*?)(<!-- end of equality -->)/

for (const mesh of meshes) {
  describe(`20 steps on ${mesh} are those of one rank`, () => {
    for (const each of casesOn(mesh)) test(caseName(each), () => {
      const difference = compare(mesh, each)
      seen.set(`${mesh} ${caseName(each)}`, difference)
      assert.ok(difference.loss <= 1e-5, `losses differ by ${difference.loss}`)
      assert.ok(difference.weight <= 1e-4, `weights differ by ${difference.weight}`)
    })
  })
}

test('docs/parallel.md tells the differences of each case', () => {
  if (process.env.UPDATE_DOCS === '1') fs.writeFileSync(document, fs.readFileSync(document, 'utf8').replace(marks, (_, begin: string, __, end: string) => `${begin}\n${tableOf(measured)}\n\n${end}`))
  const told = marks.exec(fs.readFileSync(document, 'utf8'))![2].trim(), number = /\d+e[-+]\d+|\b0\b/g
  assert.equal(told.replaceAll(number, '#'), tableOf((...which) => measured(...which).replaceAll(number, '#')).trim(), 'a case is missing there; write the table with UPDATE_DOCS=1')
  for (const [cell] of told.matchAll(/\S+ · \S+/g)) {
    const [loss, weight] = cell.split(' · ').map(Number)
    assert.ok(loss <= 1e-5 && weight <= 1e-4, cell)
  }
})
