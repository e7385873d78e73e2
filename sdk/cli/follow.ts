import { fork } from 'node:child_process'
import * as path from 'node:path'
import { reviveError, WorkerError } from '../errors'
import type { RankEnvironment } from '../parallel/launch'
import { forkPlaced, type FromRank } from '../parallel/processes'
import type { Plan } from '../plan/plan'
import { findCheckpoint } from '../train/checkpoints'
import type { FollowerJob } from '../worker/ranks/follower'
import { exitCodes } from './exit'
import { localModel } from './model'
import type { Terminal } from './terminal'

/** A rank beside the first one that a launcher started: its process does what the first rank says, until the end. */
export async function followLauncher(plan: Plan, place: RankEnvironment, terminal: Terminal): Promise<number> {
  const modelPath = await localModel(plan.model, terminal), output = path.resolve(plan.output)
  const checkpoint = plan.resume === null ? null : (await findCheckpoint(output, plan.resume, () => undefined)).folder
  const child = fork(path.join(__dirname, '..', 'worker', 'ranks', 'follower-process.js'), [], {
    ...forkPlaced(place.localRank, place.localWorldSize, plan.threads), serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  child.send({ plan, modelPath, output, checkpoint, meeting: place } satisfies FollowerJob)
  // The first rank leaves a checkpoint and tells the others to end; who ends before is missed by all.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => undefined)
  return new Promise((resolve, reject) => {
    let failure: Error | null = null
    child.on('message', (message: FromRank) => { if (message.kind === 'failed') failure = reviveError(message.error) })
    child.on('exit', (code, signal) => {
      if (failure !== null) reject(failure)
      else if (code === 0) resolve(exitCodes.ok)
      else reject(new WorkerError('worker.exited', `rank ${place.rank} of ${place.worldSize} ${signal === null ? `exited with code ${code}` : `was killed by ${signal}`}; its own output above says more`, { rank: place.rank, exitCode: code, signal }))
    })
  })
}
