import { Float64, Int32, Table, makeVector, type Vector } from 'apache-arrow'
import type { RunEvent, StepEvent } from './events'

/** Columns of a run's metrics: the numbers of a {@link StepEvent} under its names. */
export type StepColumns = { -readonly [Name in keyof Omit<StepEvent, 'type' | 'totalSteps'>]: Name extends WholeColumn ? Int32 : Float64 }
type WholeColumn = 'step' | 'tokens' | 'supervised' | 'faults'
const whole: readonly WholeColumn[] = ['step', 'tokens', 'supervised', 'faults']
const real: readonly (keyof StepColumns)[] = ['epoch', 'loss', 'learningRate', 'gradNorm', 'ms', 'tokensPerSecond', 'memory', 'utilisation', 'time']

/** Step events as columns, made when asked for. */
export class MetricsTable {
  #steps: StepEvent[] = []
  #table: Table<StepColumns> | null = null

  push(event: RunEvent): void {
    if (event.type === 'started') this.#steps = this.#steps.filter((step) => step.step <= event.startStep)
    else if (event.type === 'step') this.#steps.push(event)
    else return
    this.#table = null
  }

  get table(): Table<StepColumns> {
    if (this.#table) return this.#table
    const numbers = (name: keyof StepColumns) => this.#steps.map((step) => step[name])
    const columns: Record<string, Vector> = {}
    for (const name of whole) columns[name] = makeVector(Int32Array.from(numbers(name)))
    for (const name of real) columns[name] = makeVector(Float64Array.from(numbers(name)))
    this.#table = new Table(columns) as unknown as Table<StepColumns>
    return this.#table
  }
}
