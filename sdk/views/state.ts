/** MIME type of a board: its data is a {@link BoardData}. */
export const boardMime = 'application/vnd.fettle.board+json'
/** MIME type of a chat box: its data is a `ChatState` (sdk/chat). */
export const chatMime = 'application/vnd.fettle.chat+json'

/** All that a board shows, as plain JSON. Numbers have at most five digits; what is not finite is `null`. */
export interface BoardData {
  readonly state: BoardState
  readonly samples: BoardSamples
}

/** What changes with each step. Small: a page gets it twice a second. */
export interface BoardState {
  readonly version: 1
  /** Id of the run, the same for every display of it. */
  readonly run: string
  readonly status: 'preparing' | 'training' | 'paused' | 'stopping' | 'done' | 'stopped' | 'failed' | 'crashed'
  /** What trains: model, method and shares, in words. */
  readonly title: string
  readonly about: string
  /** The output folder. */
  readonly dir: string
  /** Outlives its notebook. */
  readonly detached: boolean
  /** The long step before training that runs now. */
  readonly preparing: { readonly stage: string; readonly done: number; readonly total: number | null } | null
  readonly step: number
  readonly totalSteps: number
  readonly epoch: number
  readonly epochs: number
  /** Smoothed loss of the last steps; `null` before the first. */
  readonly loss: number | null
  /** ms; pauses count as elapsed, but not for the pace. */
  readonly elapsed: number
  /** ms to the last step; `null` while unknown. */
  readonly left: number | null
  readonly learningRate: number | null
  readonly tokensPerSecond: number | null
  readonly series: BoardSeries
  readonly evals: readonly { readonly step: number; readonly loss: number | null; readonly perplexity: number | null; readonly accuracy: number | null }[]
  /** Newest last; the final weights have `final`. */
  readonly saved: readonly { readonly step: number; readonly path: string; readonly final: boolean }[]
  readonly ranks: readonly BoardRank[]
  /** Newest last, at most five; `count` of the same kind. */
  readonly warnings: readonly { readonly code: string; readonly message: string; readonly step: number | null; readonly count: number }[]
  /** What the user asked of the run, newest last, at most five: `learning rate 1e-4 (step 120)`. */
  readonly commands: readonly string[]
  readonly error: { readonly name: string; readonly code: string; readonly message: string } | null
  /** Buttons that would work now; none for a run that nobody can reach. */
  readonly controls: readonly BoardCommand['name'][]
}

/** Columns over the same steps, thinned to what a chart can show: lowest and highest of each bucket stay. */
export interface BoardSeries {
  readonly step: readonly number[]
  readonly loss: readonly (number | null)[]
  readonly smoothLoss: readonly (number | null)[]
  readonly learningRate: readonly (number | null)[]
  readonly gradNorm: readonly (number | null)[]
  readonly tokensPerSecond: readonly (number | null)[]
  /** Share of the run's CPU threads (or of the device) that worked, 0 to 1. */
  readonly utilisation: readonly (number | null)[]
  /** MiB. */
  readonly memory: readonly (number | null)[]
}

/** One rank's row. */
export interface BoardRank {
  readonly rank: number
  readonly status: BoardState['status']
  readonly device: string
  readonly host: string
  readonly pid: number
  readonly threads: number
  /** MiB. */
  readonly memory: number | null
  readonly utilisation: number | null
}

/** Answers over the steps; sent when they change. Texts are clipped to 600 characters. */
export interface BoardSamples {
  readonly prompts: readonly { readonly prompt: string; readonly reference: string | null }[]
  /** Prompts that are not shown. */
  readonly more: number
  /** Oldest first, at most 30 of all; `answers` in the order of `prompts`. `untouched`: of the model before any step. */
  readonly at: readonly { readonly step: number; readonly untouched: boolean; readonly answers: readonly string[] }[]
}

/** What a button asks of a run. */
export type BoardCommand =
  | { readonly name: 'pause' | 'resume' | 'stop' | 'save' | 'sample' | 'evaluate' }
  | { readonly name: 'set'; readonly learningRate: number }
