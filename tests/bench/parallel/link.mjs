// A rank process that measures what connects two of them, and memory while both use it. Writes link.json.
import { createRequire } from 'node:module'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const { ops, ProcessGroup, scope, setThreads, Store } = createRequire(import.meta.url)('fettle-native')

process.once('message', ({ rank, count, store, folder }) => {
  setThreads(1)
  const group = ProcessGroup.open(Store.file(store, count, 60_000), 'link', rank, count, 60_000), zeros = (size) => ops.zeros([size], { dtype: 'float32' })
  const time = (times, run) => scope(() => {
    run()
    const start = performance.now()
    for (let i = 0; i < times; i++) run()
    return (performance.now() - start) / 1000 / times
  })
  scope(() => {
    const small = zeros(16), large = zeros(4 * 2 ** 20), from = zeros(16 * 2 ** 20), to = zeros(16 * 2 ** 20)
    const short = time(200, () => group.allReduce(small)), long = time(10, () => group.allReduce(large))
    // A ring of two: two messages one after the other, each of half the tensor.
    const alpha = short / 2, beta = (long - short) / (4 * large.numel)
    const copy = time(5, () => ops.copy_(to, from))
    if (rank === 0) writeFileSync(join(folder, 'link.json'), JSON.stringify({ alpha, beta, bandwidth: 8 * from.numel / copy }))
  })
  process.send({ kind: 'done' }, undefined, undefined, () => process.exit(0))
})
