import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backward, fusedAdamW, keep, manualSeed, memory, noGrad, ops, residentMemory, scope, setThreads, tensor, Tensor } from 'fettle-native'

const STEPS = 10_000

function parameter(shape: number[]): Tensor {
  const p = keep(noGrad(() => scope(() => ops.mul(ops.randn(shape), 0.1))))
  p.requiresGrad = true
  return p
}

/** One training-like step of a two-layer model: forward, loss, backward, fused AdamW, gradients dropped. */
function stepOf(params: Tensor[], states: { m: Tensor[]; v: Tensor[]; steps: Tensor[] }): number {
  return scope(() => {
    const x = ops.randn([8, 16])
    const target = tensor(Array.from({ length: 8 }, (_, i) => BigInt(i % 4)))
    const hidden = ops.silu(ops.linear(x, params[0], params[1]))
    const loss = ops.cross_entropy_loss(ops.linear(hidden, params[2], params[3]), target)
    backward(loss)
    fusedAdamW({ params, grads: params.map((p) => p.grad as Tensor), expAvgs: states.m, expAvgSqs: states.v, steps: states.steps, lr: 1e-3, beta1: 0.9, beta2: 0.999, weightDecay: 0, eps: 1e-8 })
    for (const p of params) p.grad = undefined
    return loss.item()
  })
}

test(`resident memory is flat over ${STEPS} training-like steps`, () => {
  setThreads(1)
  manualSeed(1)
  const params = [parameter([32, 16]), parameter([32]), parameter([4, 32]), parameter([4])]
  const zeros = (p: Tensor) => ops.zeros(p.shape)
  const states = { m: params.map(zeros), v: params.map(zeros), steps: params.map(() => ops.zeros([])) }
  const live = memory().liveTensors
  let settled = 0
  for (let i = 1; i <= STEPS; i++) {
    assert.ok(Number.isFinite(stepOf(params, states)))
    if (i % 50 === 0) for (let k = 0; k < 3; k++) assert.throws(() => scope(() => ops.mm(ops.ones([2, 2]), params[3])))
    if (i === STEPS / 5) settled = residentMemory()
  }
  const end = residentMemory()
  assert.equal(memory().liveTensors, live)
  assert.ok(end < settled * 1.05, `resident memory grew from ${settled} to ${end} bytes`)
})
