import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backward, devices, fusedAdamW, getRngState, inspect, manualSeed, NativeError, ops, scope, setRngState, tensor, Tensor } from 'fettle-native'

const gpu = inspect().devices.some((d) => d.kind === 'cuda')
const skip = gpu ? false : 'needs a CUDA GPU'
const onGpu = (t: Tensor) => ops.to(t, { device: 'cuda:0' })
const onCpu = (t: Tensor) => ops.to(t, { device: 'cpu' })

function close(a: Tensor, b: Tensor, tolerance: number): void {
  const [x, y] = [a.toFloat32Array(), b.toFloat32Array()]
  x.forEach((value, i) => assert.ok(Math.abs(value - y[i]) <= tolerance * (1 + Math.abs(y[i])), `${value} against ${y[i]} at ${i}`))
}

test('devices() lists the GPU with its memory', { skip }, () => {
  const found = devices().find((d) => d.kind === 'cuda')
  assert.equal(found?.device, 'cuda:0')
  assert.ok(found.totalMemory > 1e9 && found.freeMemory > 0 && found.freeMemory <= found.totalMemory)
})

test('operators on the GPU equal those on the CPU', { skip }, () => {
  const [a, b] = [ops.randn([33, 65]), ops.randn([65, 17])]
  const c = ops.mm(onGpu(a), onGpu(b))
  assert.equal(c.device, 'cuda:0')
  close(onCpu(c), ops.mm(a, b), 1e-4)
  close(ops.softmax(onGpu(a), -1), ops.softmax(a, -1), 1e-5)
  close(ops.cross_entropy_loss(onGpu(a), onGpu(ops.zeros([33], { dtype: 'int64' }))), ops.cross_entropy_loss(a, ops.zeros([33], { dtype: 'int64' })), 1e-5)
})

test('backward on the GPU equals that on the CPU', { skip }, () => {
  const x = ops.randn([8, 16]), w = ops.randn([4, 16])
  const gradient = (place: (t: Tensor) => Tensor) => {
    const weight = ops.detach(place(w))
    weight.requiresGrad = true
    backward(ops.sum(ops.silu(ops.linear(place(x), weight))))
    return weight.grad as Tensor
  }
  close(gradient(onGpu), gradient((t) => ops.clone(t)), 1e-4)
})

test('fused AdamW on the GPU equals that on the CPU', { skip }, () => {
  const [p, g] = [ops.randn([64]), ops.randn([64])]
  const step = (place: (t: Tensor) => Tensor) => {
    const param = place(ops.clone(p))
    const zero = () => place(ops.zeros([64]))
    const [expAvgs, expAvgSqs, steps] = [[zero()], [zero()], [place(ops.zeros([]))]]
    for (let i = 0; i < 3; i++) fusedAdamW({ params: [param], grads: [place(g)], expAvgs, expAvgSqs, steps, lr: 0.01, beta1: 0.9, beta2: 0.999, weightDecay: 0.1, eps: 1e-8 })
    return param
  }
  close(step(onGpu), step((t) => t), 1e-5)
})

test('attention in bfloat16 with grouped heads runs on the GPU', { skip }, () => {
  const make = (heads: number) => ops.randn([2, heads, 32, 64])
  const [q, k, v] = [make(8), make(2), make(2)]
  const half = (t: Tensor) => ops.to(t, { device: 'cuda:0', dtype: 'bfloat16' })
  const out = ops.scaled_dot_product_attention(half(q), half(k), half(v), undefined, 0, true, { enableGqa: true })
  close(out, ops.scaled_dot_product_attention(q, k, v, undefined, 0, true, { enableGqa: true }), 0.05)
})

test('the random state of the GPU can be read and restored', { skip }, () => {
  manualSeed(3)
  const state = getRngState('cuda:0')
  const first = ops.rand([8], { device: 'cuda:0' }).toArray()
  setRngState(state, 'cuda:0')
  assert.deepEqual(ops.rand([8], { device: 'cuda:0' }).toArray(), first)
})

test('memory that the GPU does not have is a typed error, and work goes on', { skip }, () => {
  assert.throws(() => ops.empty([2 ** 45], { device: 'cuda:0' }), (e: NativeError) => e.code === 'native.memory' && e.operator.startsWith('aten::empty'))
  assert.equal(ops.ones([2], { device: 'cuda:0' }).toArray()[1], 1)
})

test('scopes give GPU memory back for the next step', { skip }, () => {
  const step = () => scope(() => { ops.exp(ops.ones([64 << 20], { device: 'cuda:0' })) })
  step()
  const before = devices()[1].freeMemory
  for (let i = 0; i < 20; i++) step()
  assert.ok(devices()[1].freeMemory > before - (64 << 20))
})
