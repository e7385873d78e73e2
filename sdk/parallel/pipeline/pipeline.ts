import { keep, noGrad, ops, scope, type ProcessGroup, type Tensor, type Work } from 'fettle-native'
import type { Batch } from '../../models/batch'
import type { Decoder, Pipe } from '../../models/decoder'
import { onDevice } from '../../models/device'
import { freeAll } from '../../models/free'
import type { Parameters } from '../../models/parameters'
import { backwardThrough, forwardThrough, passageOf, type Passage, type Step, type WalkOptions, type WalkResult } from '../../train/walk'
import { mostInFlight, scheduleOf } from './schedule'

/** Sends and receives of one stage. What was sent is kept until it has gone. */
export class StagePipe implements Pipe {
  readonly first: boolean
  readonly last: boolean
  private readonly leaving: { readonly tensor: Tensor; readonly work: Work }[] = []

  constructor(readonly group: ProcessGroup, private readonly parameters: Parameters) {
    this.first = group.rank === 0
    this.last = group.rank === group.size - 1
  }

  receive(rows: number): Tensor { return this.from(this.neighbour(-1), rows, passing) }
  send(x: Tensor): void { this.to(this.neighbour(1), x, passing) }
  share(result: Tensor): void { this.group.broadcast(result, this.group.size - 1) }

  /** The stage so many places on; stages stand in a ring. */
  neighbour(step: number): number { return (this.group.rank + step + this.group.size) % this.group.size }

  /** A copy leaves: the caller may go on with the memory. */
  to(stage: number, x: Tensor, tag: number): void {
    while (this.leaving.length > 8) this.wait()
    // Gloo sends what the CPU can read alone.
    const tensor = keep(x.device === 'cpu' ? ops.clone(x) : onDevice(x, 'cpu'))
    this.leaving.push({ tensor, work: this.group.send(tensor, stage, tag, true) })
  }

  from(stage: number, rows: number, tag: number): Tensor {
    const { architecture, dtype, device } = this.parameters
    const x = ops.empty([rows, architecture.hiddenSize], { dtype, device: 'cpu' })
    this.group.receive(x, stage, tag)
    return onDevice(x, device)
  }

  /** All that was sent has gone. */
  flush(): void { while (this.leaving.length > 0) this.wait() }

  private wait(): void {
    const { tensor, work } = this.leaving.shift()!
    work.wait()
    tensor.free()
  }
}

/** Tag of what passes in a forward alone. */
const passing = 0

/** A micro-batch between a chunk's forward and its backward. */
interface Open { readonly passage: Passage; readonly steps: readonly Step[]; readonly gradX: Tensor | null }

/** What surrounds the backwards of a window. */
export interface PipelineOptions extends WalkOptions {
  /** Before each backward: whether it is the last of its layers in the window. */
  readonly lastFollows?: (isLast: boolean) => void
}

/**
 * A window's micro-batches through this stage, in the order of `scheduleOf`. Every stage gets the same batches: it reads
 * ids where it embeds, labels where it has the head, and lengths for positions everywhere. The sums are the last stage's; on
 * the others they are zero.
 */
export function walkStage(decoder: Decoder, pipe: StagePipe, batches: readonly Batch[], options: PipelineOptions): WalkResult {
  const { chunks, parameters: { device } } = decoder, stages = pipe.group.size, depth = stages * chunks.length
  const tasks = scheduleOf(stages, chunks.length, batches.length, pipe.group.rank), slots = mostInFlight(tasks)
  const open = new Map<string, Open>()
  return noGrad(() => scope(() => {
    const lossSum = ops.zeros([], { dtype: 'float32', device }), correct = ops.zeros([], { dtype: 'int64', device })
    for (const { kind, chunk, micro } of tasks) {
      const batch = batches[micro], place = chunk * stages + pipe.group.rank, key = `${chunk} ${micro}`
      const tag = (at: number, back: boolean): number => 1 + (micro * depth + at) * 2 + (back ? 1 : 0)
      if (kind === 'forward') {
        const found = scope(() => {
          const passage = passageOf(decoder, batch, options, micro % slots)
          // The embedding's memory is the next micro-batch's.
          const input = place === 0 ? ops.clone(decoder.embed(batch, passage.context)) : pipe.from(pipe.neighbour(-1), decoder.rowsOf(batch.tokens), tag(place, false))
          const { steps, x } = forwardThrough(decoder, chunks[chunk], input, passage)
          if (place < depth - 1) pipe.to(pipe.neighbour(1), x, tag(place + 1, false))
          const head = place < depth - 1 ? null : decoder.headLoss(x, batch.targets!, { scale: batch.ghost ? 0 : options.scale, gradient: true, context: passage.context })
          if (head !== null && !batch.ghost) {
            ops.add_(lossSum, head.lossSum)
            ops.add_(correct, head.correct)
          }
          // The head's gradient stands in memory that the next one writes.
          return { passage, steps, gradX: head && ops.clone(head.gradX as Tensor) }
        })
        open.set(key, found)
      } else {
        const { passage, steps, gradX } = open.get(key)!
        open.delete(key)
        options.lastFollows?.(micro === batches.length - 1)
        scope(() => {
          const grad = gradX ?? pipe.from(pipe.neighbour(1), decoder.rowsOf(batch.tokens), tag(place, true))
          const out = backwardThrough(decoder, chunks[chunk], grad, steps, passage)
          if (place === 0) decoder.embedBackward(out, batch, passage.context)
          else {
            decoder.parameters.adapter?.collect?.()
            pipe.to(pipe.neighbour(-1), out, tag(place - 1, true))
          }
        })
        const { rope, scores } = passage.context
        freeAll({ steps, gradX, rope, scores })
      }
    }
    pipe.flush()
    return { lossSum, correct }
  }))
}
