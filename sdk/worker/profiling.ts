import { getThreads, type DType } from 'fettle-native'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { PlanError } from '../errors'
import { chooseBlocks } from '../models/blocks/fused'
import { writeTextAtomically } from '../models/weights/atomic'
import { chromeTrace } from '../profile/chrome'
import { measureLimit } from '../profile/limit'
import { RecordedSteps } from '../profile/recorded-steps'
import type { GemmLimit, ProfileData, RankProfile } from '../profile/types'
import type { Replies } from '../run/protocol'
import type { TrainerStep } from '../train/trainer'
import { readParts, writePart } from './ranks/profile'
import type { Session } from './session'

/** Somebody waits for a profile. */
export interface ProfileAsk {
  readonly steps: number
  readonly skip: number
  answer(value: Replies['profile']): void
  fail(error: unknown): void
}

/** Looks into steps when it is asked to, one profile after the other; else steps run as if it were not there. */
export class Profiling {
  private readonly waiting: ProfileAsk[] = []
  private going: { readonly ask: ProfileAsk; skip: number; left: number; recorded: RecordedSteps | null } | null = null
  /** Measured once: the machine stays the same. */
  private limit: GemmLimit | null = null

  constructor(private readonly session: Session) {}

  ask(ask: ProfileAsk): void { this.waiting.push(ask) }

  /** Before each step, outside of its time: the first profile measures what the machine can do. */
  begin(): void {
    const ask = this.going === null ? this.waiting.shift() : undefined
    if (ask !== undefined) this.going = { ask, skip: ask.skip, left: ask.steps, recorded: null }
    if (this.going === null) return
    this.limit ??= this.measure()
    if (this.going.skip === 0) this.going.recorded ??= new RecordedSteps(this.session.trainer!, this.session.base, 0)
  }

  /** The trainer's next step, on all ranks; recorded where it was asked for. */
  next(): TrainerStep {
    const { going, session: { trainer, control } } = this, recorded = going?.recorded ?? null
    control?.tell(recorded === null ? { kind: 'step' } : { kind: 'step', recorded: true })
    if (recorded === null) {
      if (going !== null) going.skip--
      return trainer!.next()
    }
    going!.left--
    return recorded.next()
  }

  /** Behind each step: answers when the last one of a profile is done. */
  behindStep(): void { if (this.going?.left === 0) this.finish() }

  /** No step follows: who waits gets what was recorded, or hears that nothing was. */
  close(): void {
    if (this.going !== null && this.going.recorded !== null) this.finish()
    const unheard = [...(this.going === null ? [] : [this.going.ask]), ...this.waiting.splice(0)]
    this.going = null
    for (const { fail } of unheard) fail(new PlanError('run.leaving', `the run ended after step ${this.session.trainer?.step ?? 0}, before a step could be recorded; ask for fewer steps, or earlier`, { command: 'profile', atStep: this.session.trainer?.step ?? 0 }))
  }

  private finish(): void {
    const { ask, recorded } = this.going!
    this.going = null
    try {
      ask.answer(this.write(this.gather(recorded!.profile())))
    } catch (error) { ask.fail(error) }
  }

  /** What all ranks recorded. Of other machines only where they share the output folder. */
  private gather(own: RankProfile): readonly RankProfile[] {
    const { control, output, ranks } = this.session
    if (control === null) return [own]
    const folder = fs.mkdtempSync(path.join(output, '.profile-'))
    try {
      control.tell({ kind: 'profile', folder })
      control.write(() => writePart(folder, own))
      return readParts(folder, ranks.size)
    } finally {
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }

  private write(ranks: readonly RankProfile[]): Replies['profile'] {
    const { plan, decoder: { parameters, blocks }, output } = this.session
    const data: ProfileData = { version: 1, model: plan.model, device: parameters.device, dtype: this.productType, threads: getThreads(), blocks: blocks.form, limit: this.limit!, ranks }
    const stem = path.join(output, `profile-${ranks[0].steps[0].step}`), file = `${stem}.json`, trace = `${stem}.trace.json`
    writeTextAtomically(file, JSON.stringify(data))
    writeTextAtomically(trace, JSON.stringify(chromeTrace(data)))
    return { data, file, trace }
  }

  private measure(): GemmLimit {
    const { plan, decoder: { parameters: { device } } } = this.session, dtype = this.productType
    return measureLimit(chooseBlocks({ device, dtype, blocks: plan.blocks }), device, dtype)
  }

  /** What products are made of: at level O1 of fp16 halves, though weights are fp32. */
  private get productType(): DType { return this.session.plan.precision === 'fp16' ? 'float16' : this.session.decoder.parameters.dtype }
}
