// The quickstart as a script: node docs/quickstart.mjs [steps]
// The same walk as notebooks/quickstart.ipynb; docs/quickstart-script.md explains it.
import { examples, sft } from 'fettle'

const steps = Number(process.argv[2] ?? 180)
const folder = 'output/quickstart-script'

// 1. Data: train.json and dev.json, one {"src", "tgt"} object a line.
const task = await examples.pronunciations(`${folder}/data`, { train: 4000, heldOut: 64 })

// 2. The plan. Nothing runs before start().
const plan = sft('builtin:smollm2-135m')
  .data(task.folder, { template: 'none' })
  .lora({ rank: 16 })
  .steps(steps)
  .batch(16, 64)
  .learningRate(1.5e-3)
  .schedule('cosine', { warmupRatio: 0.1 })
  .evaluate({ every: Math.ceil(steps / 6) })
  .sample({ every: steps, prompts: task.heldOut.map((row) => row.prompt), maxNewTokens: 24, stop: ['\n'] })
  .save({ each: 'never' })
  .output(`${folder}/adapter`)
  .overwrite()

// 3. Train, in a worker process. Its events come as they happen.
const run = await (examples.fastPrecision() === 'bf16' ? plan.bf16() : plan).start()
for await (const event of run) {
  if (event.type === 'step' && event.step % 10 === 0)
    console.log(`step ${event.step} of ${event.totalSteps}  loss ${event.loss.toFixed(3)}  ${Math.round(event.tokensPerSecond)} tokens/s`)
  if (event.type === 'eval') console.log(`held-out loss ${event.loss.toFixed(3)}, token accuracy ${(event.accuracy * 100).toFixed(1)}%`)
}
const result = await run.done

// 4. Did it learn? The samples before the first step and after the last one tell.
const samples = run.events.filter((event) => event.type === 'sample')
const percent = (share) => `${(share * 100).toFixed(1)}%`
for (const [when, sample] of [['before', samples[0]], ['after', samples.at(-1)]]) {
  const { exact, phonemeErrorRate } = examples.scoreSample(task, sample)
  console.log(`${when.padEnd(7)} exact ${percent(exact)}, phoneme error rate ${percent(phonemeErrorRate)}`)
}

// 5. Ask it, and end the worker.
console.log(await run.generate(examples.pronouncePrompt('zebra'), { maxNewTokens: 24 }))
await run.close()
console.log(`the adapter stands in ${result.output}`)
