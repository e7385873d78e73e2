// What users write, as TypeScript 5.0 with Node10 resolution (the one inside tslab) must read it.
import {
  adapter, attach, checkpoints, dataset, inspect, model, parseArguments, PlanError, sft, start, toArguments, validatePlan,
  type AdapterInfo, type AttachedRun, type CheckpointList, type DataInfo, type DataRows, type EvalEvent, type ModelInfo, type Plan, type Run, type RunEvent, type RunInfo, type RunResult, type SampleEvent, type Sft, type StepColumns,
} from 'fettle'
import type { Table } from 'apache-arrow'

const base: Sft = sft('HuggingFaceTB/SmolLM2-135M-Instruct').data('data/advertise')
const builder = base
  .data('data', { srcLength: 128, maxLength: 256, template: 'auto', system: null })
  .lora({ rank: 8, alpha: 16, dropout: 0.05, targets: ['q_proj'] }).lora().bf16().fp32()
  .lora({ rank: 8, rsLora: true, dora: true, pissa: true, plusRatio: 16, rankPattern: { q_proj: 4 }, alphaPattern: {}, targets: '.*_proj' }).lora({ from: 'output/run' }).neftune().neftune(null).recompute('none')
  .data('data', { packing: false, lazy: false, shuffleBuffer: 10, seed: 1, dropLast: true }).best({ load: false, metric: 'loss', greaterIsBetter: null, patience: null, minDelta: 0 }).progress(false).report('tensorboard').predict()
  .evaluate({ each: 'epoch', generate: false, saveOutput: false, topK: 1 }).schedule('polynomial', { endRate: 1e-6, power: 2, cycles: 0.5 }).resume(true, { data: 'restart' }).resume(null)
  .learningRate(1e-4).weightDecay(0.01).maxGradNorm(1).adam({ beta1: 0.9, beta2: 0.999, epsilon: 1e-8 })
  .schedule('cosine', { warmupSteps: 10 }).schedule('linear', { warmupRatio: 0.1 }).warmup(5)
  .epochs(3).steps(200).batch(8).batch(8, 16).accumulate(4)
  .evaluate({ every: 50 }).evaluate({ each: 'epoch' })
  .sample({ every: 50, prompts: ['Hello!'], temperature: 0.7, topK: 50, topP: 0.9, maxNewTokens: 32 })
  .save({ every: 50, keep: 2 }).save({ keep: null }).output('output/run').overwrite().resume().resume('output/run/checkpoint-50')
  .seed(1).device('cpu').threads(2).blocks('plain').log({ every: 10 }).tp(1).pp(1).dp(1).sharding({ stage: 0, degree: 1 })
const same: Sft = builder
const plan: Plan = same.plan
const checked: Plan = validatePlan(JSON.parse(JSON.stringify(plan)))
const rank: number | undefined = checked.lora?.rank
const parsed: { readonly plan: Plan; readonly notes: readonly string[] } = parseArguments({ model_name_or_path: 'm' }, { lora: 'true' }, 'a.json')
const file: Record<string, unknown> = toArguments(parsed.plan)

export async function main(): Promise<void> {
  const run: Run = await builder.start({ onEvent: (event: RunEvent) => console.log(event.type), startTimeout: 5000 })
  for await (const event of run) if (event.type === 'step') console.log(event.loss, event.tokensPerSecond)
  const table: Table<StepColumns> = run.metrics
  const loss: number | null | undefined = table.get(0)?.loss
  const result: RunResult = await run.done
  const answer: string = await run.generate('Hello!', { maxNewTokens: 5, onToken: (text: string, row: number) => console.log(text, row) })
  const answers: string[] = await run.generate(['a', 'b'])
  for await (const piece of run.stream('Hello!')) console.log(piece.length)
  const evaluation: EvalEvent = await run.evaluate()
  const path: string = await run.save()
  await run.pause()
  await run.set({ learningRate: 1e-4 })
  await run.resume()
  const shown: SampleEvent = await run.sample()
  await run.stop()
  await run.close()
  const seen: AttachedRun = await attach(run.dir)
  await seen.stop()
  const far: AttachedRun = await builder.start({ hosts: ['a', 'b:4'], cwd: '/w', ssh: 'ssh -p 22', program: 'fettle', onEvent: (event: RunEvent) => console.log(event.type) })
  await (await attach(far.dir, { ssh: 'ssh -p 22' })).stop()
  const free: Run = await builder.start({ detached: true })
  await free.done
  const other: Run = await start(plan)
  try { await other.done } catch (error) { if (error instanceof PlanError) console.log(error.code, error.details) }
  console.log(rank, file, loss, result.steps, answer, answers, shown.samples.length, evaluation.perplexity, path, seen.state)
}

export async function look(): Promise<void> {
  const described: ModelInfo = await model('m', { lora: { rank: 8 }, revision: 'main' })
  const data: DataInfo = await dataset('data', { model: 'm', maxLength: 256, batch: 4, split: 'dev' })
  const same: DataInfo = await dataset(builder, { show: 2 })
  const rows: DataRows = data.rows(0, 5)
  for (const row of rows) console.log(row.tokens.map((token) => token.text).join(''), row.supervised)
  const info: RunInfo = await builder.inspect()
  const again: RunInfo = await inspect(plan)
  const found: AdapterInfo = await adapter('output/run')
  const list: CheckpointList = await checkpoints('output/run', { verify: true })
  for (const entry of list) console.log(entry.step, entry.state, entry.loss)
  console.log(described.trainable?.share, same.padding.saved, info.steps, again.model.layers, found.rank, list.newest?.folder, String(described))
}
