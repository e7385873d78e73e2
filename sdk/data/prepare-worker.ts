import { serializeError } from '../errors'
import { loadTokenizer } from '../tokenizers'
import type { PreparedData, PreparedSplit } from './dataset'
import type { SplitName } from './discover'
import { prepareSplit } from './prepare-split'
import type { FromPrepare, PrepareJob } from './prepare-protocol'

/**
 * Entry of the prepare process: takes one job, answers with progress and a result, and ends. It holds the tokenizer and
 * never the native addon.
 */
process.once('message', (job: PrepareJob) => {
  run(job).then(
    result => send({ kind: 'done', result }),
    (error: unknown) => send({ kind: 'failed', error: serializeError(error) })
  )
})

// Nobody waits any more.
process.once('disconnect', () => process.exit(0))

function send(message: FromPrepare): void {
  process.send!(message, undefined, undefined, () => { if (message.kind !== 'progress') process.disconnect() })
}

async function run({ data, modelPath, splits, cache, threads, cores }: PrepareJob): Promise<PreparedData> {
  const tokenizer = loadTokenizer(modelPath)
  const prepared: Record<SplitName, PreparedSplit | null> = { train: null, dev: null, test: null }
  for (const { split, files } of splits) {
    let last = 0
    prepared[split] = await prepareSplit({
      files, tokenizer, modelPath, data, cache, threads, cores,
      onProgress(progress) {
        const settled = progress.state === 'done' || progress.state === 'reused'
        if (!settled && Date.now() - last < 100) return
        last = Date.now()
        send({ kind: 'progress', progress: { split, ...progress } })
      }
    })
  }
  return prepared
}
