import { fromBytes, ops, scope, tensor, type ProcessGroup } from 'fettle-native'
import type { PreparedData } from '../data/dataset'
import { CheckpointError } from '../errors'
import type { DataPlan } from '../plan/plan'
import { isDiskFull } from '../train/disk'
import type { TokenOptions } from '../train/generate'

/** What all ranks do next, together. The first rank decides; the others wait for its word. */
export type Task =
  /** The data is prepared; goes on from a checkpoint where one is named. */
  | { readonly kind: 'open'; readonly data: PreparedData; readonly located: DataPlan; readonly checkpoint: string | null }
  /** `recorded`: for a profile. */
  | { readonly kind: 'step'; readonly recorded?: boolean }
  /** Each rank writes what it recorded into a folder, and forgets it. */
  | { readonly kind: 'profile'; readonly folder: string }
  /** Another base learning rate from the next step on. */
  | { readonly kind: 'rate'; readonly rate: number }
  /** Batch by batch, each after a `go`. */
  | { readonly kind: 'evaluate'; readonly split: 'dev' | 'test' }
  /** Token by token, each but the first after a `go`. */
  | { readonly kind: 'generate'; readonly prompts: readonly (readonly number[])[]; readonly options: TokenOptions }
  /** Each rank writes what it holds: all that a resume needs, or the trained weights alone. */
  | { readonly kind: 'save'; readonly folder: string; readonly what: 'state' | 'weights' }
  /** The weights of a checkpoint take the place of the live ones. */
  | { readonly kind: 'take'; readonly folder: string }
  | { readonly kind: 'end' }

/** The wire by which the first rank tells the others what to do. All of it is collective: who is not heard from fails for all. */
export class Control {
  constructor(private readonly group: ProcessGroup) {}

  get leads(): boolean { return this.group.rank === 0 }

  /** Of the first rank. */
  tell(task: Task): void {
    const bytes = Buffer.from(JSON.stringify(task))
    scope(() => {
      this.group.broadcast(tensor([BigInt(bytes.length)]), 0)
      this.group.broadcast(fromBytes(new Uint8Array(bytes), [bytes.length], 'uint8'), 0)
    })
  }

  /** Of the others: waits for the next task. */
  hear(): Task {
    return scope(() => {
      const length = tensor([0n])
      this.group.broadcast(length, 0)
      const bytes = ops.zeros([length.item()], { dtype: 'uint8' })
      this.group.broadcast(bytes, 0)
      return JSON.parse(Buffer.from(bytes.toBytes()).toString('utf8')) as Task
    })
  }

  /** Shall what was begun go on? The first rank says so, the others hear it. */
  go(on: boolean): boolean {
    return scope(() => {
      const word = tensor([on ? 1n : 0n])
      this.group.broadcast(word, 0)
      return word.item() === 1
    })
  }

  /** The first rank's numbers, on all ranks; as many on each. */
  agree(numbers: readonly number[]): number[] {
    return scope(() => {
      const shared = tensor(numbers.map(BigInt))
      this.group.broadcast(shared, 0)
      return shared.toArray()
    })
  }

  /**
   * Each rank writes what it holds, and waits until all have written or failed: who cannot write must not leave the others waiting.
   * @throws what it failed with here, else CheckpointError `checkpoint.rank` when another rank failed
   */
  write(part: () => void): void {
    let failure: { readonly error: unknown } | null = null
    try { part() } catch (error) { failure = { error } }
    const worst = scope(() => {
      const word = tensor([failure === null ? 0n : isDiskFull(failure.error) ? 1n : 2n])
      this.group.allReduce(word, 'max')
      return word.item()
    })
    if (failure !== null) throw (failure as { readonly error: unknown }).error
    if (worst === 0) return
    throw worst === 1
      ? new CheckpointError('checkpoint.rank', 'no space is left on the disk that another rank writes its part to; free some there', { errno: 'ENOSPC' })
      : new CheckpointError('checkpoint.rank', 'another rank could not write its part; the log of that rank tells why', {})
  }
}

/** Did another rank fail to write its part? */
export function isOfAnother(error: unknown): boolean { return error instanceof CheckpointError && error.code === 'checkpoint.rank' }
