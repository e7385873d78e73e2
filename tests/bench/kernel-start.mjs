// How long a fresh kernel takes until its first cell is done, on a Jupyter server that runs already.
//   node tests/bench/kernel-start.mjs [runs]
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { machine } from './machine.mjs'

const { startServer, KernelClient } = createRequire(import.meta.url)('../../kernel/dist/driver/index.js')
const runs = Number(process.argv[2] ?? 5)
const seconds = (ms) => (ms / 1000).toFixed(2)

const server = await startServer({ root: tmpdir() })
const times = []
try {
  for (let i = 0; i < runs; i++) {
    const started = performance.now()
    const client = await KernelClient.start(server, 'fettle', '')
    const answered = performance.now()
    await client.execute("import { sft } from 'fettle'\nsft('model').lora({ rank: 8 })\n1 + 1", 'bench').reply
    const done = performance.now()
    times.push(done - started)
    console.log(`kernel answers after ${seconds(answered - started)} s, its first cell is done ${seconds(done - answered)} s later: ${seconds(done - started)} s`)
    await client.shutdown()
  }
} finally {
  await server.stop()
}
times.sort((a, b) => a - b)
console.log(`first cell done after ${seconds(times[0])} / ${seconds(times[times.length >> 1])} / ${seconds(times.at(-1))} s (min / median / max of ${runs})`)
const { cpu, cores, features } = machine()
console.log(`${cpu}, ${cores} cores, ${features.join(", ")}`)
