import { CheckpointError, DataError, EnvironmentError, FettleError, HubError, ModelError, PlanError, WorkerError } from '../errors'

/** Exit codes of `fettle`. */
export const exitCodes = Object.freeze({
  ok: 0, failed: 1, plan: 2, data: 3, model: 4, environment: 5, worker: 6, hub: 7, interrupted: 130, terminated: 143,
})

/** What each code means, as `fettle help` lists it. */
export const exitMeanings: readonly (readonly [number, string])[] = [
  [exitCodes.ok, 'done'],
  [exitCodes.failed, 'failed: a fault of Fettle, or a broken checkpoint'],
  [exitCodes.plan, 'usage: a wrong flag, argument or plan'],
  [exitCodes.data, 'bad data: the message names file, line and column'],
  [exitCodes.model, 'a model, tokenizer or weights file that is missing, unknown or broken'],
  [exitCodes.environment, 'the machine lacks something: see fettle doctor'],
  [exitCodes.worker, 'the worker was killed, crashed or did not start'],
  [exitCodes.hub, 'a hub refused an upload, or cannot be reached for it'],
  [exitCodes.interrupted, 'stopped by Ctrl-C, with a checkpoint; Ctrl-C again ends it without'],
  [exitCodes.terminated, 'stopped by SIGTERM, with a checkpoint'],
]

const byClass: readonly (readonly [new (...args: never[]) => Error, number])[] = [
  [PlanError, exitCodes.plan], [DataError, exitCodes.data], [ModelError, exitCodes.model], [EnvironmentError, exitCodes.environment],
  [WorkerError, exitCodes.worker], [CheckpointError, exitCodes.failed],
  [HubError, exitCodes.hub],
]

/** The exit code for anything thrown. */
export function exitCodeOf(error: unknown): number {
  // A fault that a worker met and did not expect: it is Fettle's, not the process's.
  if (error instanceof FettleError && error.code === 'internal') return exitCodes.failed
  return byClass.find(([Class]) => error instanceof Class)?.[1] ?? exitCodes.failed
}
