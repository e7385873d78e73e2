import { parentPort, workerData } from 'node:worker_threads'
import { serializeError, type SerializedError } from '../errors'
import type { DataPlan } from '../plan/plan'
import { loadTokenizer } from '../tokenizers'
import type { Block } from './blocks'
import { rowEncoder } from './encode'
import { encodeBlock, type EncodedBlock } from './encode-block'

/** What a thread that encodes is made with. */
export interface EncodeJob { readonly data: DataPlan; readonly modelPath: string }

/** A block for it; the answers come in the order of the blocks. */
export type ToEncoder = Omit<Block, 'bytes'> & { readonly bytes: Uint8Array }

export type FromEncoder = { readonly kind: 'encoded'; readonly block: EncodedBlock } | { readonly kind: 'failed'; readonly error: SerializedError }

const { data, modelPath } = workerData as EncodeJob
const encoder = rowEncoder(loadTokenizer(modelPath), data)
let last: Promise<void> = Promise.resolve()

parentPort!.on('message', (message: ToEncoder) => { last = last.then(() => answer(message)) })

async function answer({ bytes, ...block }: ToEncoder): Promise<void> {
  try {
    const encoded = await encodeBlock({ ...block, bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) }, encoder)
    const { ids, labels, lengths, supervised } = encoded
    parentPort!.postMessage({ kind: 'encoded', block: encoded } satisfies FromEncoder, [ids, labels, lengths, supervised].map(({ buffer }) => buffer as ArrayBuffer))
  } catch (error) {
    parentPort!.postMessage({ kind: 'failed', error: serializeError(error) } satisfies FromEncoder)
  }
}
