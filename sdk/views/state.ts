/** MIME type of a board: its data is a {@link BoardData}. */
export const boardMime = 'application/vnd.fettle.board+json'
/** MIME type of a chat box: its data is a `ChatState` (sdk/chat). */
export const chatMime = 'application/vnd.fettle.chat+json'

/** All that a board shows, as plain JSON. Numbers have at most five digits; what is not finite is `null`. */
export interface BoardData {
  /** What changes with each step. */
  readonly state: BoardState
  /** Answers over the steps. */
  readonly samples: BoardSamples
}

/** What changes with each step. Small: a page gets it twice a second. */
export interface BoardState {
  /** Version of this layout. */
  readonly version: 1
  /** Id of the run, the same for every display of it. */
  readonly run: string
  /** Where the run stands. `lost`: on another host, to which the connection was lost. */
  readonly status: 'preparing' | 'training' | 'paused' | 'stopping' | 'done' | 'stopped' | 'failed' | 'crashed' | 'lost'
  /** What trains: model, method and shares, in words. */
  readonly title: string
  /** Further facts, in words. */
  readonly about: string
  /** The output folder. */
  readonly dir: string
  /** Outlives its notebook. */
  readonly detached: boolean
  /** The long step before training that runs now. */
  readonly preparing: { readonly stage: string; readonly done: number; readonly total: number | null } | null
  /** Optimizer steps done. */
  readonly step: number
  /** Optimizer steps of the whole run. */
  readonly totalSteps: number
  /** Epochs done, as a fraction. */
  readonly epoch: number
  /** Epochs of the whole run, as a fraction. */
  readonly epochs: number
  /** Smoothed loss of the last steps; `null` before the first. */
  readonly loss: number | null
  /** ms; pauses count as elapsed, but not for the pace. */
  readonly elapsed: number
  /** ms to the last step; `null` while unknown. */
  readonly left: number | null
  /** That of the last step; `null` before the first. */
  readonly learningRate: number | null
  /** Of the last steps; `null` before the first. */
  readonly tokensPerSecond: number | null
  /** The curves. */
  readonly series: BoardSeries
  /** Evaluations, oldest first. */
  readonly evals: readonly { readonly step: number; readonly loss: number | null; readonly perplexity: number | null; readonly accuracy: number | null }[]
  /** Newest last, folders and addresses of uploads; the final weights have `final`. */
  readonly saved: readonly { readonly step: number; readonly path: string; readonly final: boolean }[]
  /** One row a worker. */
  readonly ranks: readonly BoardRank[]
  /** Newest last, at most five; `count` of the same kind. */
  readonly warnings: readonly { readonly code: string; readonly message: string; readonly step: number | null; readonly count: number }[]
  /** What the user asked of the run, newest last, at most five: `learning rate 1e-4 (step 120)`. */
  readonly commands: readonly string[]
  /** What ended the run; `null` while nothing did. */
  readonly error: { readonly name: string; readonly code: string; readonly message: string } | null
  /** Buttons that would work now; none for a run that nobody can reach. */
  readonly controls: readonly BoardCommand['name'][]
}

/** Columns over the same steps, thinned to what a chart can show: lowest and highest of each bucket stay. */
export interface BoardSeries {
  /** Optimizer steps, rising. */
  readonly step: readonly number[]
  /** Of each step. */
  readonly loss: readonly (number | null)[]
  /** The same, smoothed. */
  readonly smoothLoss: readonly (number | null)[]
  /** Rate of each step. */
  readonly learningRate: readonly (number | null)[]
  /** 2-norm over all gradients, before clipping. */
  readonly gradNorm: readonly (number | null)[]
  /** All tokens of the step over its duration. */
  readonly tokensPerSecond: readonly (number | null)[]
  /** Share of the run's CPU threads (or of the device) that worked, 0 to 1. */
  readonly utilisation: readonly (number | null)[]
  /** MiB. */
  readonly memory: readonly (number | null)[]
}

/** One rank's row. */
export interface BoardRank {
  /** Its number, from 0. */
  readonly rank: number
  /** Where it stands. */
  readonly status: BoardState['status']
  /** `cpu` or `cuda:N`. */
  readonly device: string
  /** Name of its host. */
  readonly host: string
  /** Process id of its worker. */
  readonly pid: number
  /** CPU threads. */
  readonly threads: number
  /** MiB. */
  readonly memory: number | null
  /** Share of them that worked in the last step, 0 to 1. */
  readonly utilisation: number | null
}

/** Answers over the steps; sent when they change. Texts are clipped to 600 characters. */
export interface BoardSamples {
  /** What is asked, with the answer of the data. */
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
