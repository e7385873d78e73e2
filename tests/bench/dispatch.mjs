// Nanoseconds of one small operator from TypeScript, its result freed: the median of several rounds.
import { createRequire } from 'node:module'

const { noGrad, ops, scope, setThreads, tensor } = createRequire(import.meta.url)('fettle-native')
setThreads(1)
const a = tensor([1, 1, 1, 1], [2, 2], 'float32'), b = tensor([1, 1, 1, 1], [2, 2], 'float32'), rounds = []
noGrad(() => {
  for (let r = 0; r < 9; r++) {
    const start = performance.now()
    for (let block = 0; block < 1000; block++) scope(() => { for (let i = 0; i < 100; i++) ops.add(a, b) })
    rounds.push((performance.now() - start) * 10)
  }
})
console.log(rounds.slice(2).sort((x, y) => x - y)[3])
