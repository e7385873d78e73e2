import { serializeError } from '../errors'
import { loadTokenizer } from '../tokenizers'
import { emptyRow, encodeAll, sequences } from './batches'
import { rowEncoder, type RowEncoder } from './encode'
import { readRows, type DataRow } from './rows'
import { shuffledStream } from './stream-order'
import type { FromStream, StreamJob, ToStream } from './stream-protocol'

/** Entry of the process that reads and tokenises a stream, one batch for each request. It never holds the native addon. */

let wanted = 0
let wake: () => void = () => undefined

process.on('message', (message: ToStream) => {
  if (message.kind === 'start') {
    run(message.job).catch((error: unknown) => send({ kind: 'failed', error: serializeError(error) }))
    return
  }
  wanted++
  wake()
})

// Nobody waits any more.
process.once('disconnect', () => process.exit(0))

function send(message: FromStream): void { process.send!(message) }

async function run(job: StreamJob): Promise<void> {
  const encoder = rowEncoder(loadTokenizer(job.modelPath), job.data), epochs: number[] = []
  for await (const { rows, encoded } of encodeAll(numbered(job, encoder, epochs), encoder)) {
    while (wanted === 0) await new Promise<void>((resolve) => { wake = resolve })
    wanted--
    encoded.forEach((row, i) => { if (row.ids.length === 0) throw emptyRow(rows[i]) })
    send({ kind: 'rows', rows: encoded.map(({ ids, labels }) => ({ inputIds: ids, labels, epoch: epochs.shift()! })) })
  }
}

/** Rows without end, epoch after epoch; `epochs` grows by the epoch of each. */
function* numbered({ data, files, seed, skip }: StreamJob, encoder: RowEncoder, epochs: number[]): Generator<DataRow> {
  let left = skip
  for (let epoch = 0; ; epoch++) {
    for (const row of sequences(shuffledStream(readRows(files), data.shuffleBuffer, seed, epoch), encoder)) {
      if (left-- > 0) continue
      epochs.push(epoch)
      yield row
    }
  }
}
