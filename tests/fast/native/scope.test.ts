import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keep, memory, ops, scope, tensor, Tensor } from 'fettle-native'

const live = () => memory().liveTensors

test('a scope frees what it made and keeps what its result reaches', () => {
  const x = tensor([1, 2])
  const before = live()
  let inner: Tensor | undefined
  const result = scope(() => {
    inner = ops.neg(x)
    return { list: [ops.neg(inner)], map: new Map([['a', ops.abs(x)]]), set: new Set([ops.exp(x)]), number: 3 }
  })
  assert.equal(inner?.alive, false)
  assert.deepEqual(result.list[0].toArray(), [1, 2])
  assert.deepEqual(result.map.get('a')?.toArray(), [1, 2])
  assert.equal(live(), before + 3)
})

test('kept results pass to the surrounding scope', () => {
  const before = live()
  scope(() => {
    const y = scope(() => tensor([1]))
    assert.equal(y.alive, true)
  })
  assert.equal(live(), before)
})

test('keep lifts a tensor out of all scopes', () => {
  const before = live()
  let kept: Tensor | undefined
  scope(() => scope(() => { kept = keep(tensor([4])) }))
  assert.deepEqual(kept?.toArray(), [4])
  kept?.free()
  kept?.free()
  assert.equal(live(), before)
})

test('an error frees everything', () => {
  const before = live()
  assert.throws(() => scope(() => { tensor([1]); ops.mm(tensor([1]), tensor([2])) }))
  assert.equal(live(), before)
})

test('a freed tensor is named, also after its number was given to another', () => {
  let gone: Tensor | undefined
  scope(() => { gone = tensor([1]) })
  tensor([2])
  assert.throws(() => ops.add(tensor([1]), gone as Tensor), { code: 'native.freed', message: /'other' was freed/ })
  assert.throws(() => (gone as Tensor).shape, { code: 'native.freed' })
})

test('an asynchronous body is refused', () => {
  assert.throws(() => scope(async () => tensor([1])), { code: 'native.argument', message: /synchronous/ })
})

test('cyclic results and tensors freed by hand do no harm', () => {
  const before = live()
  const result = scope(() => {
    const t = tensor([1])
    tensor([2]).free()
    const cycle: Record<string, unknown> = { t }
    cycle.self = cycle
    return cycle
  })
  assert.equal((result.t as Tensor).alive, true)
  assert.equal(live(), before + 1)
})
