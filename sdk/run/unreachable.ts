import * as os from 'node:os'
import { WorkerError } from '../errors'
import { controlName, type ControlRecord } from './control'
import { startAgain } from './death'
import { hasCheckpoint } from './folder'
import type { Verdict } from './read-log'

/** Why a run's worker cannot be asked for anything, and what to do instead. */
export function unreachable(dir: string, state: Verdict | 'closed', record: ControlRecord | null, host = record?.host): WorkerError {
  const pid = record?.pid ?? null, again = startAgain(hasCheckpoint(dir)).calls
  if (state === 'closed') return new WorkerError('run.closed', `this handle of the run in ${dir} is closed; try attach(folder) for a new one`, { dir, state })
  if (state === 'finished' || state === 'stopped') return new WorkerError('worker.gone', `the run in ${dir} is ${state} and its worker has ended; ask its weights with chat(folder) or fettle generate${state === 'stopped' ? `, or ${again}` : ''}`, { dir, state, pid })
  if (state === 'failed' || state === 'crashed') return new WorkerError('worker.gone', `the run in ${dir} has ${state} and its worker is gone; ${again}`, { dir, state, pid })
  if (host !== undefined && host !== os.hostname()) return new WorkerError('run.elsewhere', `the run in ${dir} is ${state} on the host ${host}, this is ${os.hostname()}; controls work on its own host: attach(folder) there`, { dir, state, host })
  return new WorkerError('run.noControl', `the run in ${dir} is ${state}, but its worker cannot be reached: ${record === null ? `${controlName} is not there or belongs to another user` : record.socket === null ? 'it could open no control socket (see the warnings)' : 'its control socket does not answer'}; control it from the process that started it, or stop it with kill${pid === null ? '' : ` ${pid}`}`, { dir, state, pid })
}
