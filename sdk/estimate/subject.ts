import { existsSync } from 'node:fs'
import { resolveData } from '../data/builtin/resolve'
import { openRows } from '../data/arrow-reader'
import { prepare, type PrepareProgress } from '../data'
import { DataError, PlanError } from '../errors'
import { trainableShare } from '../inspect/count'
import { familyOf } from '../models/families'
import type { ModelProgress } from '../models/hub/progress'
import { storedWeights } from '../models/layout'
import { openWeights, resolveModel } from '../models/weights'
import type { Plan } from '../plan/plan'
import type { Bench } from './measure'

/** The model's record and the prepared rows of a plan; nothing of its weights is read. @throws ModelError, DataError as the run would */
export async function openBench(plan: Plan, onProgress: (progress: ModelProgress | PrepareProgress) => void = () => undefined): Promise<Omit<Bench, 'seconds' | 'onProgress'>> {
  if (!plan.train) throw new PlanError('plan.noTraining', 'the plan only evaluates, and what is predicted is training; try a plan with train: true / --do_train', { train: false })
  if (plan.data.path === null) throw new PlanError('plan.noData', "expected a data set to train on, got none; try .data('folder with train.json')", { field: 'data.path' })
  if (plan.data.lazy) throw new PlanError('plan.lazy', "rows that come as a stream are not known before they come, so that nothing can be predicted from them; try .data(path, { lazy: false }) / lazy false with a part of the data", { lazy: true })
  const modelPath = existsSync(plan.model) ? plan.model : await resolveModel(plan.model, { onProgress })
  const data = { ...plan.data, path: await resolveData(plan.data.path, onProgress) }
  const split = (await prepare(data, modelPath, { require: ['train'], skip: ['dev'], onProgress })).train!
  if (split.supervised === 0) throw new DataError('data.no-labels', `none of the ${split.rows} rows of ${split.sources.join(', ')} has an answer left to train on; fill tgt, or raise maxLength in .data(path, { maxLength: n }) / max_length`, { sources: split.sources, rows: split.rows })
  const weights = openWeights(modelPath)
  try {
    const { config } = weights, family = familyOf(config), architecture = family.architecture(config), names = family.names(architecture)
    const own = storedWeights(architecture, names).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
    return { modelPath, config, subject: { architecture, names, trainable: trainableShare(plan, architecture, names, own).parameters }, split, reader: openRows(split) }
  } finally {
    weights.close()
  }
}
