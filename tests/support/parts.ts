import * as fs from 'node:fs'
import * as path from 'node:path'
import { ops } from 'fettle-native'
import { familyOf } from 'fettle/dist/models/families'
import { elements } from 'fettle/dist/models/flat'
import { storedWeights } from 'fettle/dist/models/layout'
import { cutSize } from 'fettle/dist/models/share'
import { placeOf, worldSize } from 'fettle/dist/parallel/mesh/mesh'
import { shareOf } from 'fettle/dist/parallel/shares'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import { writeParts, writesPart, type Part } from 'fettle/dist/parallel/parts'
import { meshShape } from 'fettle/dist/parallel/mesh/shape'
import type { LazyTensor } from 'fettle/dist/models/weights'
import { defaultPlan } from 'fettle/dist/plan/defaults'
import { writeWhole } from 'fettle/dist/train/manifest'

/** Writes what a merge reads of a checkpoint: random masters of a model as the ranks of a mesh would. Returns their bytes. */
export async function randomCheckpoint(folder: string, config: Readonly<Record<string, unknown>>, meshText: string): Promise<number> {
  const mesh = parseMesh(meshText), shape = meshShape(mesh), family = familyOf(config), architecture = family.architecture(config), names = family.names(architecture)
  const whole = storedWeights(architecture, names).flatMap(({ parts }) => parts)
  await writeWhole(folder, 1, (target) => {
    for (let rank = 0; rank < worldSize(shape); rank++) {
      const place = placeOf(shape, rank), parts = storedWeights(architecture, names, shareOf(architecture, mesh, place)).flatMap((stored) => stored.parts.flatMap(({ name, whole: all, cut }): Part<LazyTensor>[] => {
        if (!writesPart({ cut, partial: stored.partial }, { place })) return []
        const own = cut === null ? all : all.map((size, dim) => (dim === cut.dim ? cutSize(cut) : size)), length = elements(own)
        return [{ name: `master.${name}`, whole: all, cut, shape: own, from: 0, length, values: { dtype: 'float32', shape: [length], make: () => ops.full([length], rank + 1, { dtype: 'float32' }) } }]
      }))
      writeParts(target, 'optimizer', rank, parts)
    }
    const json = (name: string, value: unknown): void => fs.writeFileSync(path.join(target, name), JSON.stringify(value))
    json('model.parts.json', { version: 1, ranks: worldSize(shape), dtype: 'bfloat16', tensors: Object.fromEntries(whole.map(({ name }) => [name, name])) })
    json('config.json', config)
    json('training.json', { version: 1, step: 1, updates: 1, data: { hash: '', rows: 1 }, mesh: shape, rng: {} })
    json('plan.json', { ...defaultPlan('tiny'), mesh })
  })
  return 4 * whole.reduce((sum, part) => sum + elements(part.whole), 0)
}
