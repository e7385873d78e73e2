import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scope } from 'fettle-native'
import type { BlockContext } from 'fettle/dist/models/blocks/types'
import { Workspace } from 'fettle/dist/models/blocks/fused-workspace'

const width = 1 << 16, rows = 128, bytes = rows * width * 4, layers = 8

function passing(slot: number, mode: BlockContext['mode']): BlockContext {
  return { mode, slot, tokens: rows, dropout: false, adapter: true, dtype: 'float32', attention: { kind: 'packed', offsets: [0, rows] }, rope: null, scores: null as never, prefix: null }
}

test('layers that run again share two sets of records, also while other micro-batches are on their way', () => {
  const workspace = new Workspace()
  const record = (layer: number, context: BlockContext): void => scope(() => {
    workspace.enter(context)
    workspace.saved({ layer, id: 'qkv' }, context, 'x', rows, width, 'float32')
  })
  const forward = [0, 1].map((slot) => passing(slot, 'boundary'))
  for (const context of forward) for (let layer = 0; layer < layers; layer++) record(layer, context)
  const before = workspace.bytes
  for (const context of forward) {
    const again: BlockContext = { ...context, mode: 'train', again: true }
    for (let layer = layers - 1; layer >= 0; layer--) record(layer, again)
  }
  assert.ok(workspace.bytes - before <= 2 * bytes, `${(workspace.bytes - before) / bytes} sets`)
  workspace.free()
})

test('layers whose backward follows later keep their records, each micro-batch its own', () => {
  const workspace = new Workspace(), made = scope(() => [0, 1].flatMap((slot) => {
    const context = passing(slot, 'train')
    workspace.enter(context)
    return [0, 1, 2].map((layer) => workspace.saved({ layer, id: 'qkv' }, context, 'x', rows, width, 'float32'))
  }).length)
  assert.equal(made, 6)
  assert.ok(workspace.bytes >= 6 * bytes)
  workspace.free()
})
