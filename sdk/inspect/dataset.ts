import { existsSync } from 'node:fs'
import { resolveData } from '../data/builtin/resolve'
import { openRows, Packs, prepare, type PreparedSplit, type PrepareProgress, type RowReader } from '../data'
import { PlanError } from '../errors'
import { resolveModel, type ModelProgress } from '../models/weights'
import type { DataOptions } from '../plan/options'
import type { Plan } from '../plan/plan'
import { refusal } from '../plan/refuse'
import { loadTokenizer, type Tokenizer } from '../tokenizers'
import { dataView, type TextAndHtml } from '../views/objects'
import { histogram, padding } from './lengths'
import { DataRows, shownRow } from './rows'
import { Shown } from './shown'
import { Draft, planOf, type PlanSource } from './source'
import type { DataFacts } from './types'

/** How a data set is looked at; all optional. */
export interface DataViewOptions {
  /** The part to look at. Default `'train'`. */
  readonly split?: 'train' | 'dev'
  /** Rows shown at first. 0 to 100. Default 4. */
  readonly show?: number
  /** Called while rows are tokenised; `bytes` of `totalBytes` are done. */
  readonly onProgress?: (progress: PrepareProgress | ModelProgress) => void
}

/** How a data set is looked at that no builder describes yet. */
export interface DataInfoOptions extends DataViewOptions, DataOptions {
  /** The model whose tokenizer and chat template make the tokens: a folder, GGUF file, hub repository or `builtin:smollm2-135m`. */
  readonly model: string
  /** Rows of a batch, for the share of padding. At least 1. Default 8. */
  readonly batch?: number
  /** Seed of the order that batches are cut from. Default 42. */
  readonly seed?: number
}

/** A data set as training sees it. As a cell's last value it shows numbers, length histograms and its first rows. */
export interface DataInfo extends DataFacts {}
// The fields are those of DataFacts, said once.
export class DataInfo extends Shown {
  readonly #reader: RowReader
  readonly #tokenizer: Tokenizer
  readonly #show: number

  /** @internal Use `dataset(path, { model })`. */
  constructor(facts: DataFacts, reader: RowReader, tokenizer: Tokenizer, show: number) {
    super()
    Object.assign(this, facts)
    this.#reader = reader
    this.#tokenizer = tokenizer
    this.#show = show
    Object.freeze(this)
  }

  /**
   * Some rows, token by token.
   * @param from Number of the first row, from 0. Default 0.
   * @param count How many, fewer at the data's end. 0 to 1000. Default 5.
   */
  rows(from = 0, count = 5): DataRows {
    const most = this.#reader.rows
    if (!Number.isInteger(from) || from < 0 || from >= most) throw refusal('from of .rows()', `a whole number from 0 to ${most - 1}`, from, '.rows(0, 5)')
    checkCount('count of .rows()', count, 1000, '.rows(0, 5)')
    const numbers = Array.from({ length: Math.min(count, most - from) }, (_, i) => from + i)
    return new DataRows(numbers.map((row) => shownRow(this.#tokenizer, row, this.#reader.row(row))), most)
  }

  protected override view(): TextAndHtml { return dataView(this, this.rows(0, this.#show).rows) }
}

/**
 * Tokenises a data set as training would, in a process of its own, and describes the result: rows with the parts that the
 * loss counts, lengths, cut rows, and the padding that packing saves. What was tokenised before is reused.
 *
 * ```ts
 * await dataset('data/pronounce', { model: 'builtin:smollm2-135m' })
 * await dataset(sft('builtin:smollm2-135m').data('data/pronounce'))
 * ```
 *
 * @param source Folder with `train.json` (and `dev.json`), or one file, of `{"src", "tgt"}` lines; or a builder, run or plan.
 * @throws DataError with file, line and column of a bad row; ModelError for the tokenizer
 */
export function dataset(source: PlanSource, options?: DataViewOptions): Promise<DataInfo>
export function dataset(source: string, options: DataInfoOptions): Promise<DataInfo>
export async function dataset(source: string | PlanSource, options: DataViewOptions & Partial<DataInfoOptions> = {}): Promise<DataInfo> {
  const { split = 'train', show = 4 } = options
  if (split !== 'train' && split !== 'dev') throw refusal('split of dataset()', "'train' or 'dev'", split, "split: 'train'")
  checkCount('show of dataset()', show, 100, 'show: 4')
  const plan = typeof source === 'string' ? draft(source, options) : planOf(source, 'dataset')
  if (plan.data.path === null) throw new PlanError('plan.noData', "expected a data set to look at, got none; try .data('folder with train.json')", { field: 'data.path' })
  // A folder needs no weights to tokenise.
  const modelPath = existsSync(plan.model) ? plan.model : await resolveModel(plan.model, { onProgress: options.onProgress })
  const data = { ...plan.data, path: await resolveData(plan.data.path, options.onProgress) }
  const prepared = (await prepare(data, modelPath, { require: [split], skip: [split === 'train' ? 'dev' : 'train'], onProgress: options.onProgress }))[split]!
  const reader = openRows(prepared)
  return new DataInfo(factsOf(plan, split, prepared, reader), reader, loadTokenizer(modelPath), show)
}

/** The plan of a path alone, checked as a builder's. */
function draft(path: string, options: Partial<DataInfoOptions>): Plan {
  const { model, split: _split, show: _show, onProgress: _onProgress, batch = 8, seed = 42, ...data } = options
  if (model === undefined) {
    throw new PlanError('inspect.model', `expected a model, whose tokenizer makes the tokens, for dataset(), got none; try dataset(${JSON.stringify(path)}, { model: 'builtin:smollm2-135m' })`, { path })
  }
  return new Draft(model).data(path, data).batch(batch).seed(seed).plan
}

function checkCount(field: string, value: number, most: number, remedy: string): void {
  if (!Number.isInteger(value) || value < 0 || value > most) throw refusal(field, `a whole number from 0 to ${most}`, value, remedy)
}

function factsOf(plan: Plan, split: 'train' | 'dev', prepared: PreparedSplit, reader: RowReader): DataFacts {
  const { rows } = reader
  const total = Int32Array.from({ length: rows }, (_, row) => reader.length(row))
  const target = Int32Array.from({ length: rows }, (_, row) => reader.supervised(row))
  const { sources, template, tokens, supervised, truncated, notes } = prepared
  return {
    path: plan.data.path!, split, sources, model: plan.model, template, srcLength: plan.data.srcLength, maxLength: plan.data.maxLength,
    count: rows, packs: split === 'train' && plan.data.packing ? Packs.greedy(rows, (row) => total[row], plan.data.maxLength).count : null, tokens, supervised, truncated, notes,
    lengths: { source: histogram(total.map((length, row) => length - target[row])), target: histogram(target), total: histogram(total) },
    padding: padding(total, split === 'train' ? plan.batch.size : plan.batch.evalSize, plan.seed, plan.data.maxLength),
  }
}
