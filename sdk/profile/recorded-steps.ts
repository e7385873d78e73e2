import { watchCollectives } from 'fettle-native'
import type { Trainer, TrainerStep } from '../train/trainer'
import { recordedBlocks } from './blocks'
import { partsOf, type MemoryBase } from './memory'
import { Recorder } from './recorder'
import type { RankProfile } from './types'

/** Steps of a rank that are recorded: the recorder stands between decoder and blocks while one of them runs, and at no other time. */
export class RecordedSteps {
  private readonly recorder: Recorder

  constructor(private readonly trainer: Trainer, private readonly base: MemoryBase, private readonly rank: number) {
    this.recorder = new Recorder(trainer.parameters.device, trainer.parts.decoder.blocks)
  }

  /** The trainer's next step. */
  next(): TrainerStep {
    const { trainer, recorder } = this, { decoder } = trainer.parts, { blocks } = decoder
    let done: TrainerStep | null = null
    decoder.blocks = recordedBlocks(blocks, recorder)
    trainer.watch = recorder
    watchCollectives(recorder.collective)
    try {
      recorder.step(() => done = trainer.next())
    } finally {
      watchCollectives(null)
      trainer.watch = null
      decoder.blocks = blocks
    }
    return done!
  }

  /** What was recorded. */
  profile(): RankProfile {
    const { steps, spans, memory, epoch } = this.recorder, { decoder } = this.trainer.parts
    return {
      rank: this.rank, epoch, steps: steps.map((step) => ({ ...step, ...rounded(step) })),
      spans: spans.map((span) => ({ ...span, ...rounded(span) })),
      memory: memory.map((reading) => ({ ...reading, time: time(reading.time) })),
      parts: partsOf(memory, this.base, decoder, this.trainer.optimizer),
    }
  }
}

/** To a tenth of a microsecond. */
function time(ms: number): number { return Math.round(ms * 1e4) / 1e4 }

/** A frame must not end behind the one around it by rounding: its ends are rounded, not its duration. */
function rounded({ start, ms }: { readonly start: number; readonly ms: number }): { readonly start: number; readonly ms: number } {
  return { start: time(start), ms: time(time(start + ms) - time(start)) }
}
