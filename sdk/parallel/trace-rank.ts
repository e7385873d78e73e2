// Entry of a rank process of `fettle trace --mesh`: runs its part of the trace and writes it.
import { dieWithParent, scope, setThreads, Store, type Device } from 'fettle-native'
import { serializeError } from '../errors'
import { chooseBlocks } from '../models/blocks/fused'
import { readSafetensors } from '../models/weights'
import type { MeshPlan } from '../plan/plan'
import { traceRank, type TraceOptions } from '../train/trace'
import { writeParts } from './parts'
import { threadsOf, type FromRank } from './processes'
import { Ranks } from './ranks'
import { meshShape } from './mesh/shape'

/** What a rank of a trace is told. */
export interface TraceJob {
  readonly mesh: MeshPlan
  readonly rank: number
  readonly ranks: number
  /** File of the store. */
  readonly store: string
  /** File of the inputs, and folder of the parts. */
  readonly inputs: string
  readonly folder: string
  readonly options: Omit<TraceOptions, 'inputs' | 'blocks'>
  readonly blocks: 'plain' | 'auto'
}

// A rank that waits in a collective does not see that the command has ended.
if (!dieWithParent(process.ppid)) process.exit(1)

process.once('message', (job: TraceJob) => {
  const say = (message: FromRank): void => { process.send!(message, undefined, undefined, () => process.exit(message.kind === 'done' ? 0 : 1)) }
  try {
    run(job)
    say({ kind: 'done' })
  } catch (error) {
    say({ kind: 'failed', error: serializeError(error) })
  }
})

function run({ mesh, rank, ranks: count, store, inputs, folder, options, blocks }: TraceJob): void {
  setThreads(threadsOf(count))
  const ranks = Ranks.join(meshShape(mesh), { store: Store.file(store, count, 60_000), rank, timeout: 30 * 60_000, address: '127.0.0.1' })
  scope(() => {
    const device: Device = options.device ?? 'cpu'
    const parts = traceRank({
      ...options, inputs: readSafetensors(inputs),
      ...(blocks === 'auto' ? { blocks: ({ dtype }) => chooseBlocks({ device, dtype, blocks }) } : {}),
    }, mesh, ranks)
    writeParts(folder, 'trace', rank, parts)
  })
}
