import type { FettleError } from '../errors'
import type { Plan } from '../plan/plan'
import type { RunProgress } from './handle'
import type { EventLog } from './log'
import type { Verdict } from './read-log'
import type { Requester } from './requests'

/** Where a run that was started elsewhere is seen: its output folder, or a relay beside that folder on another host. */
export interface RunSource extends Requester {
  /** What `attach()` finds it by: the folder's absolute path, or `ssh://HOST/PATH`. */
  readonly dir: string
  readonly log: EventLog
  readonly id: string
  readonly state: Verdict
  readonly progress: RunProgress | null
  /** The plan that the worker runs; `null` once no worker lives. */
  readonly plan: Plan | null
  /** A worker lives that answers. */
  readonly alive: boolean
  /** Why a run ended that is `failed` or `crashed`, or why one that is `lost` is out of sight. */
  failure(): FettleError
  /** Why there is no worker to ask. */
  unreachable(): FettleError
  /** Begins to follow the run. Calls back at once, with what there is, and after each change. */
  watch(onChange: () => void): void
  close(): void
}
