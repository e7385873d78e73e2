import * as fs from 'node:fs'
import * as path from 'node:path'
import { completePlan } from '../plan/complete'
import type { Plan } from '../plan/plan'
import { listCheckpoints } from '../train/checkpoints'

/** As a checkpoint has it beside its weights. */
const planName = 'plan.json'

/**
 * The plan of the run that wrote a folder: a checkpoint's own, of an output folder that of its newest checkpoint. `null`
 * where none can be read: a chat then goes by its options alone. Where it was trained says nothing of this machine, so
 * that device, threads and blocks are chosen anew.
 */
export function savedPlan(folder: string): Plan | null {
  if (!fs.statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return null
  const [newest] = listCheckpoints(folder)
  const plan = read(path.join(newest?.folder ?? folder, planName))
  return plan && { ...plan, device: 'auto', threads: null, blocks: 'auto' }
}

/** A file of that name may be anybody's: what is no plan of this version is none. */
function read(file: string): Plan | null {
  let value: Partial<Plan> | null
  try { value = JSON.parse(fs.readFileSync(file, 'utf8')) as Partial<Plan> | null } catch { return null }
  const isPlan = typeof value === 'object' && value !== null && value.version === 1 && typeof value.model === 'string'
    && typeof value.data?.template === 'string' && typeof value.sample?.generation === 'object'
  return isPlan ? completePlan(value) as Plan : null
}
