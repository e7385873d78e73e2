// A rank process that measures what connects two of them, and memory while both use it. Writes link.json.
import { createRequire } from 'node:module'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const { ops, ProcessGroup, scope, setThreads, Store } = createRequire(import.meta.url)('fettle-native')

process.once('message', ({ rank, count, store, folder }) => {
  setThreads(1)
  const group = ProcessGroup.open(Store.file(store, count, 60_000), 'link', rank, count, 60_000), zeros = (size) => ops.zeros([size], { dtype: 'float32' })
  /** s of a run: of ten rounds of so many the shortest, which other processes disturbed least. */
  const time = (times, run) => Math.min(...Array.from({ length: 10 }, () => scope(() => {
    const start = performance.now()
    for (let i = 0; i < times; i++) run()
    return (performance.now() - start) / 1000 / times
  })))
  scope(() => {
    const small = zeros(16), large = zeros(4 * 2 ** 20), from = zeros(16 * 2 ** 20), to = zeros(16 * 2 ** 20)
    const short = time(20, () => group.allReduce(small)), long = time(2, () => group.allReduce(large))
    // A ring of two: two messages one after the other, each of half the tensor.
    const alpha = short / 2, beta = (long - short) / (4 * large.numel)
    const copy = time(1, () => ops.copy_(to, from))
    if (rank === 0) writeFileSync(join(folder, 'link.json'), JSON.stringify({ alpha, beta, bandwidth: 8 * from.numel / copy }))
  })
  process.send({ kind: 'done' }, undefined, undefined, () => process.exit(0))
})
