import { checkpointFolder, pruneCheckpoints, type CheckpointEntry, type Warn } from './checkpoints'
import { writeWhole } from './manifest'
import { checkSameData, warnPlanChanged } from './resume'
import { readPlan, readTrainingState } from './state'
import type { Trainer } from './trainer'

/**
 * Writes `checkpoint-N/`: the weights as `writeWeights` lays them out (a folder that other programs load as it is) and
 * all that a resume needs. It is whole or absent; older ones beyond `keep` go after it stands, but for the best.
 */
export async function saveCheckpoint(output: string, trainer: Trainer, keep: number | null, writeWeights: (folder: string) => void | Promise<void>): Promise<{ readonly path: string; readonly removed: readonly string[] }> {
  const folder = checkpointFolder(output, trainer.step)
  const before = trainer.best.state
  trainer.best.checkpoint(trainer.step)
  try {
    await writeWhole(folder, trainer.step, async (temporary) => {
      await writeWeights(temporary)
      trainer.write(temporary)
    })
  } catch (error) {
    trainer.best.state = before // no checkpoint stands for it
    throw error
  }
  return { path: folder, removed: pruneCheckpoints(output, keep, trainer.best.state.saved?.step) }
}

/**
 * Brings a trainer to a verified checkpoint: the same weights, moments and randomness, bit for bit.
 * @throws CheckpointError `checkpoint.data`, `checkpoint.fit`
 */
export function resumeFrom({ folder }: CheckpointEntry, trainer: Trainer, warn: Warn): void {
  if (trainer.parts.plan.resumeData === 'continue') checkSameData(folder, readTrainingState(folder), trainer.data)
  warnPlanChanged(readPlan(folder), trainer.parts.plan, warn)
  trainer.restore(folder)
}
