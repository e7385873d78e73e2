import { exportAdapter } from '../export/adapter'
import { exportModel } from '../export/folder'
import { describeParts } from '../export/parts'
import { writeTogether } from './ranks/save'
import type { Session } from './session'

/**
 * Writes what the run trained into a folder that other programs load as it is: an adapter in PEFT's layout, or the whole
 * model as a Hugging Face folder with its tokenizer.
 */
export function writeTrained(session: Session, folder: string): void {
  const { adapter, decoder, modelPath, plan, control } = session
  if (control !== null) writeTogether(session, control, folder)
  else if (adapter !== null) exportAdapter(adapter, decoder.parameters, folder, plan.model)
  else exportModel(decoder.parameters, modelPath, folder)
}

/**
 * Writes the weights of a checkpoint. Of many ranks each writes all that it holds, and nothing is gathered but an adapter,
 * which is small: a whole model is read from the parts, and `fettle merge-tp` makes a folder of it.
 */
export function writeCheckpoint(session: Session, folder: string): void {
  const { adapter, control, trainer, decoder, modelPath, ranks } = session
  if (control !== null) {
    control.tell({ kind: 'save', folder, what: 'state' })
    control.write(() => trainer!.writeRank(folder))
  }
  if (control === null || adapter !== null) writeTrained(session, folder)
  else describeParts(decoder.parameters, modelPath, folder, ranks.size)
}
