import type { EvalEvent, Plan, RunResult } from 'fettle'
import { boardBundle, boardData, evaluationsView, evaluationView, html, planView, resultView, tableView, type LiveRun } from 'fettle/dist/views'

/** One value in several forms, as Jupyter takes them: the client shows the richest that it knows. */
export type MimeBundle = Readonly<Record<string, unknown>>

/** A method of this name returns the forms that a value is shown in (the name that other TypeScript kernels use). */
export const displayMethod = Symbol.for('Jupyter.display')

interface ArrowTable { readonly numRows: number; readonly numCols: number; readonly schema: { readonly fields: readonly { readonly name: string; readonly type: unknown }[] }; get(row: number): Record<string, unknown> | null }

/** The forms of a cell's last value, or `null` where plain text is all there is. */
export function bundleOf(value: unknown): MimeBundle | null {
  if (typeof value !== 'object' || value === null) return null
  const method = (value as Record<symbol, unknown>)[displayMethod]
  if (typeof method === 'function') return method.call(value) as MimeBundle
  if (typeof (value as MimeBundle)['text/html'] === 'string' && 'text/plain' in value) return value as MimeBundle
  if (isTable(value)) return tableBundle(value)
  if (isRun(value)) return runBundle(value)
  if (isEvaluation(value)) return evaluationView(value)
  if (Array.isArray(value) && value.length > 0 && value.every(isEvaluation)) return evaluationsView(value)
  if (isResult(value)) return resultView(value)
  if (isPlan(value)) return planView(value)
  const { plan } = value as { plan?: unknown }
  return isPlan(plan) ? planView(plan) : null
}

function isRun(value: object): value is LiveRun {
  const run = value as Partial<LiveRun>
  return Array.isArray(run.events) && run.done instanceof Promise
}

/** A run as it stands. Where the lab extension is, it lives on; the outputs of the cell that started it are its own. */
function runBundle(run: LiveRun): MimeBundle {
  const { id = '', dir = '', detached = false, progress = null } = run
  return boardBundle(boardData(run.events, { run: id, dir, detached, progress }), { library: false, final: true }) as unknown as MimeBundle
}

function isTable(value: object): value is ArrowTable {
  const table = value as Partial<ArrowTable>
  return typeof table.numRows === 'number' && typeof table.get === 'function' && Array.isArray(table.schema?.fields)
}

function isEvaluation(value: unknown): value is EvalEvent {
  const event = value as Partial<EvalEvent> | null
  return typeof event === 'object' && event !== null && event.type === 'eval' && [event.atStep, event.loss, event.perplexity, event.accuracy, event.rows, event.ms].every((field) => typeof field === 'number')
}

function isResult(value: object): value is RunResult {
  const result = value as Partial<RunResult>
  return typeof result.steps === 'number' && typeof result.stopped === 'boolean' && typeof result.output === 'string' && typeof result.ms === 'number'
    && [result.loss, result.evalLoss].every((loss) => loss === null || typeof loss === 'number')
}

function isPlan(value: unknown): value is Plan {
  const plan = value as Partial<Plan> | null
  return typeof plan === 'object' && plan !== null && plan.version === 1 && typeof plan.model === 'string'
    && [plan.data, plan.optimizer, plan.schedule, plan.batch, plan.evaluate, plan.sample, plan.save].every((part) => typeof part === 'object' && part !== null)
}

const shownRows = 20

/** First and last rows of an Arrow table. */
function tableBundle(table: ArrowTable): MimeBundle {
  const names = table.schema.fields.map((field) => field.name)
  const rows = Array.from({ length: Math.min(table.numRows, shownRows) }, (_, i) => {
    // Of a long table its start and its end say more than its start alone.
    const at = table.numRows <= shownRows || i < shownRows / 2 ? i : table.numRows - shownRows + i
    const row = table.get(at)
    return names.map((name) => row?.[name])
  })
  const note = `${table.numRows.toLocaleString('en-US')} rows × ${table.numCols} columns${table.numRows > shownRows ? `, first and last ${shownRows / 2} shown` : ''}`
  return tableView(names, rows, html`${note}`, note)
}
