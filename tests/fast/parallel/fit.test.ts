import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlanError, sft, type MeshPlan } from 'fettle'
import { families } from 'fettle/dist/models/families'
import type { Architecture } from 'fettle/dist/models/architecture'
import { refuseMesh, refuseRanks } from 'fettle/dist/parallel/mesh/fit'
import { parseMesh } from 'fettle/dist/parallel/mesh/parse'
import { meshCalls, meshName, meshShape } from 'fettle/dist/parallel/mesh/shape'

/** What the published config.json files say. */
const published: Record<string, Record<string, unknown>> = {
  'facebook/llama-7b': { model_type: 'llama', hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, intermediate_size: 11008, vocab_size: 32000, rms_norm_eps: 1e-6, max_position_embeddings: 2048 },
  'meta-llama/Meta-Llama-3-8B': { model_type: 'llama', hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8, intermediate_size: 14336, vocab_size: 128256, rms_norm_eps: 1e-5, max_position_embeddings: 8192 },
  'bigscience/bloomz-7b1-mt': { model_type: 'bloom', hidden_size: 4096, n_layer: 30, n_head: 32, vocab_size: 250880, layer_norm_epsilon: 1e-5 },
  'facebook/opt-125m': { model_type: 'opt', hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, ffn_dim: 3072, vocab_size: 50272, max_position_embeddings: 2048, do_layer_norm_before: true, word_embed_proj_dim: 768 },
  'qwen/qwen-7b': { model_type: 'qwen', hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32, intermediate_size: 22016, vocab_size: 151936, kv_channels: 128, seq_length: 8192, layer_norm_epsilon: 1e-6 },
  'THUDM/chatglm-6b': { model_type: 'chatglm', position_encoding_2d: true, inner_hidden_size: 16384, hidden_size: 4096, num_layers: 28, num_attention_heads: 32, vocab_size: 130528, layernorm_epsilon: 1e-5, max_sequence_length: 2048, bos_token_id: 130004, eos_token_id: 130005, gmask_token_id: 130001, mask_token_id: 130000, pad_token_id: 3 },
  'THUDM/chatglm2-6b': { model_type: 'chatglm', multi_query_attention: true, multi_query_group_num: 2, hidden_size: 4096, num_layers: 28, num_attention_heads: 32, kv_channels: 128, ffn_hidden_size: 13696, padded_vocab_size: 65024, layernorm_epsilon: 1e-5, seq_length: 32768, add_qkv_bias: true, rmsnorm: true },
}
const architectures = Object.fromEntries(Object.entries(published).map(([name, config]): [string, Architecture] =>
  [name, families.find((family) => family.matches(config))!.architecture(config)]))
const refused = (call: () => void, code: string, pattern: RegExp): Record<string, unknown> => {
  let details: Record<string, unknown> = {}
  assert.throws(call, (error) => {
    assert.ok(error instanceof PlanError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, pattern)
    details = error.details
    return true
  })
  return details
}
const llama = architectures['facebook/llama-7b']

/** Tensor-parallel degrees from 1 to 16 that a published model can have. */
const possible: Record<string, number[]> = {
  'facebook/llama-7b': [1, 2, 4, 8, 16], 'meta-llama/Meta-Llama-3-8B': [1, 2, 4, 8, 16], 'bigscience/bloomz-7b1-mt': [1, 2, 4, 8, 16], 'facebook/opt-125m': [1, 2, 3, 4, 6, 12],
  'qwen/qwen-7b': [1, 2, 4, 8, 16], 'THUDM/chatglm-6b': [1, 2, 4, 8, 16], 'THUDM/chatglm2-6b': [1, 2, 4, 8, 16],
}
for (const [name, architecture] of Object.entries(architectures)) {
  test(`${name}: tensor-parallel degrees from 1 to 16`, () => {
    const fits = (tp: number): boolean => { try { refuseMesh(parseMesh(`tp=${tp}`), architecture, null); return true } catch (error) { assert.ok(error instanceof PlanError && error.code.startsWith('mesh.')); return false } }
    assert.deepEqual(Array.from({ length: 16 }, (_, i) => i + 1).filter(fits), possible[name])
  })
}

test('what does not divide is named, with the nearest meshes, those of the same size first', () => {
  const details = refused(() => refuseMesh(parseMesh('tp=3'), llama, null), 'mesh.heads', /^tp 3 does not divide the model's 32 attention heads; try \.(pp|dp)\(3\) or \.(pp|dp)\(3\) or \.tp\((2|4)\)$/)
  assert.equal((details.nearest as unknown[]).length, 3)
  assert.match(details.remedyFlags as string, /^--(pipeline|data)_parallel_degree 3 or --(pipeline|data)_parallel_degree 3 or --tensor_parallel_degree [24]$/)
  refused(() => refuseMesh(parseMesh('tp=6'), { heads: 12, kvHeads: 4, intermediateSize: 48, layers: 2 }, null), 'mesh.groups', /^tp 6 neither divides the model's 4 key\/value heads nor is a multiple of them; try \.tp\(3\)\.pp\(2\)|; try/)
  refused(() => refuseMesh(parseMesh('tp=9'), { heads: 9, kvHeads: 3, intermediateSize: 1537, layers: 30 }, null), 'mesh.width', /MLP width 1537; try \.(dp|pp)\(9\)/)
  refused(() => refuseMesh(parseMesh('pp=33'), llama, null), 'mesh.layers', /^33 pipeline stages need 33 layers at least, and the model has 32; try /)
  refused(() => refuseMesh(parseMesh('pp=16:virtual4'), llama, null), 'mesh.layers', /^16 pipeline stages of 4 ranges each need 64 layers at least, and the model has 32; try \.pp\(16, \{ virtual: 2 \}\)/)
  refused(() => refuseMesh(parseMesh('tp=2,pp=2,dp=2'), llama, 4), 'mesh.devices', /^the mesh has 8 ranks with a GPU each, and there are 4; try \.tp\(2\)\.pp\(2\)/)
  refused(() => refuseMesh(parseMesh('sharding=8:stage3'), llama, 1), 'mesh.devices', /there is 1; try one rank$/)
  refused(() => refuseMesh(parseMesh('sharding=8:stage3'), llama, 4), 'mesh.devices', /try \.sharding\(\{ stage: 3, degree: 4 \}\)/)
})

test('every mesh that is named as nearest is possible', () => {
  for (const architecture of Object.values(architectures)) for (let tp = 1; tp <= 64; tp++) for (const [rest, devices] of [['', null], [',pp=3,dp=2', 12], [',pp=64:virtual2', null]] as const) {
    try { refuseMesh(parseMesh(`tp=${tp}${rest}`), architecture, devices) } catch (error) {
      const nearest = (error as PlanError).details.nearest as ReturnType<typeof meshShape>[]
      assert.ok(nearest.length > 0)
      for (const { dp, sharding, pp, tp: other } of nearest) refuseMesh(parseMesh(`dp=${dp},sharding=${sharding},pp=${pp},tp=${other}`), architecture, devices)
    }
  }
})

test('ranks that were started are as many as the degrees multiply to', () => {
  refuseRanks(parseMesh('tp=2,pp=2'), 4)
  refused(() => refuseRanks(parseMesh('tp=2'), 4), 'mesh.ranks', /^\.tp\(2\) is a mesh of 2 ranks, and there are 4; try \.tp\(2\)\.dp\(2\) on 4 ranks or 2 ranks$/)
  refused(() => refuseRanks(parseMesh('dp=1'), 2), 'mesh.ranks', /^one rank is a mesh of 1 rank, and there are 2; try \.dp\(2\) on 2 ranks or 1 rank$/)
  refused(() => refuseRanks(parseMesh('tp=4'), 6), 'mesh.ranks', /; try \.tp\(4\)\.dp\(2\) on 8 ranks or 4 ranks$/)
})

test('a mesh as text', () => {
  const mesh = (own: Partial<MeshPlan>): MeshPlan => ({ ...sft('m').plan.mesh, ...own })
  assert.deepEqual(parseMesh('tp=2,pp=2'), mesh({ tp: 2, pp: 2 }))
  assert.deepEqual(parseMesh(' dp=2 , sharding=2:stage3'), mesh({ dp: 2, sharding: { degree: 2, stage: 3 } }))
  assert.deepEqual(parseMesh('sharding=4'), mesh({ sharding: { degree: 4, stage: 1 } }))
  assert.deepEqual(parseMesh('sharding=1:stage2'), mesh({}))
  assert.deepEqual(parseMesh('pp=4:virtual2,tp=2,sequence'), mesh({ pp: 4, virtual: 2, tp: 2, sequenceParallel: true }))
  assert.ok(Object.isFrozen(parseMesh('tp=1')) && Object.isFrozen(parseMesh('tp=1').sharding))
  const bad: [string, string, RegExp][] = [
    ['', 'plan.value', /expected axes with their degrees \(dp, sharding, pp, tp\) for a mesh, got ""; try tp=2,pp=2/], ['tq=2', 'plan.unknown', /axis of a mesh, got "tq"; try tp/], ['tp', 'plan.value', /at least 1 for tp of a mesh, got nothing; try tp=2/],
    ['tp=0', 'plan.value', /got "0"/], ['tp=2.5', 'plan.value', /got "2\.5"/], ['tp=2,tp=4', 'plan.conflict', /names tp twice/], ['tp=2:stage1', 'plan.value', /a degree alone/], ['tp=2,', 'plan.value', /got "tp=2,"/],
    ['sharding=2:stage4', 'plan.value', /stage1, stage2 or stage3.*try sharding=2:stage1/], ['pp=2:x', 'plan.value', /virtualN/], ['sequence=2', 'plan.value', /nothing for sequence/],
  ]
  for (const [text, code, pattern] of bad) refused(() => parseMesh(text), code, pattern)
  for (const text of ['pp=2,tp=2', 'pp=4:virtual2', 'dp=2,sharding=2:stage3', 'tp=4,sequence']) assert.equal(meshName(parseMesh(text)), text)
  assert.equal(meshName(mesh({})), '')
  assert.equal(meshCalls(parseMesh('dp=2,sharding=2:stage3,pp=4:virtual2,tp=2')), '.tp(2).pp(4, { virtual: 2 }).sharding({ stage: 3, degree: 2 }).dp(2)')
})
