import type { MeshShape } from '../parallel/mesh/mesh'
import type { LayerRange } from '../models/share'
import type { SerializedError } from '../errors'

/** Events of a run, as they stand in metrics.jsonl (one JSON object a line) and reach the front. Times in ms since epoch. */
export type RunEvent =
  | PreparedEvent | StartedEvent | StepEvent | EvalEvent | SampleEvent | PredictEvent | SavedEvent | UploadedEvent | WarningEvent | CommandEvent | DoneEvent | FailedEvent

interface Base {
  /** When it was told, ms since epoch. */
  readonly time: number
}

/** An event that begins or ends a run. */
interface Turn extends Base {
  /** The run's id, the same for every handle of it (logs from before lack it). */
  readonly run?: string
}

/** Events that tell where a run stands. */
export type TurnEvent = PreparedEvent | StartedEvent | DoneEvent | FailedEvent

/** The data stands tokenised. */
export interface PreparedEvent extends Turn {
  readonly type: 'prepared'
  /** Which part of the data. */
  readonly split: 'train' | 'dev' | 'test'
  /** Records in it. */
  readonly rows: number
  /** All its tokens, without padding. */
  readonly tokens: number
  /** Tokens with a label, those that the loss is over. */
  readonly supervised: number
  /** Rows whose source or target was cut. */
  readonly truncated: number
  /** One rendered and tokenised row, so that a doubled BOS or a missing EOS shows before training. */
  readonly preview: { readonly text: string; readonly ids: readonly number[]; readonly labels: readonly number[]; readonly tokens: readonly string[] }
  /** With packing: packs, the share of `packs × maxLength` that holds tokens, and the share of padding in a padded batch of as many rows, which no batch has here. */
  readonly packs?: { readonly count: number; readonly filled: number; readonly padding: number }
}

/** The model is loaded; the first step follows. One more stands in the log after each resume. */
export interface StartedEvent extends Turn {
  readonly type: 'started'
  /** Where several ranks train together: how many, and the mesh that they make. Figures of a step that are one process's are the first rank's. */
  readonly ranks?: number
  /** The degrees of their mesh. */
  readonly mesh?: MeshShape
  /** Ranges of layers in order, range i on pipeline stage i modulo the number of stages. */
  readonly stages?: readonly LayerRange[]
  /** Process id of the worker, of several ranks the first one's. */
  readonly pid: number
  /** Host name of the worker: on another host the pid says nothing about it. */
  readonly host?: string
  /** The model's name as the plan gives it. */
  readonly model: string
  /** Values in the model, an adapter's included. */
  readonly parameters: number
  /** Values that train. */
  readonly trainable: number
  /** Optimizer steps of the whole run, those before a resume included. */
  readonly totalSteps: number
  /** Epochs of the whole run, as a fraction; 0 without training. */
  readonly epochs: number
  /** First step that will run, counted from 0: above 0 after a resume. */
  readonly startStep: number
  /** `cpu` or `cuda:N`. */
  readonly device: string
  /** Form of the blocks that runs. */
  readonly blocks: 'fused' | 'cuda' | 'plain'
  /** CPU threads. */
  readonly threads: number
}

/** One optimizer step. */
export interface StepEvent extends Base {
  readonly type: 'step'
  /** Optimizer steps done, from 1. */
  readonly step: number
  /** Optimizer steps of the whole run. */
  readonly totalSteps: number
  /** Epochs done, as a fraction. */
  readonly epoch: number
  /** Mean over the supervised tokens of the step's window. */
  readonly loss: number
  /** The rate that this step was made with. */
  readonly learningRate: number
  /** 2-norm over all gradients, before clipping. */
  readonly gradNorm: number
  /** With fp16: factor on the loss in this step. */
  readonly lossScale?: number
  /** All tokens of the step, without padding. */
  readonly tokens: number
  /** Tokens with a label, over which the loss is the mean. */
  readonly supervised: number
  /** Duration of the step in ms. */
  readonly ms: number
  /** All tokens of the step over its duration. */
  readonly tokensPerSecond: number
  /** Resident memory of the worker, MiB. */
  readonly memory: number
  /** Minor page faults in this step. */
  readonly faults: number
  /** Share of the worker's CPU threads that worked in this step, 0 to 1; 0 in logs from before it was measured. */
  readonly utilisation: number
}

/** An evaluation on the dev rows. */
export interface EvalEvent extends Base {
  readonly type: 'eval'
  /** Optimizer steps done. */
  readonly atStep: number
  /** Mean over the supervised tokens of all dev rows, in nats. */
  readonly loss: number
  /** e to the power of the loss. */
  readonly perplexity: number
  /** Share of supervised positions whose argmax is the label. */
  readonly accuracy: number
  /** Corpus BLEU of the answers' characters, 0 to 1; of an evaluation by generation alone, as the other scores. */
  readonly bleu4?: number
  /** Share of the targets' distinct characters that the answers have. */
  readonly rouge1?: number
  /** The same of pairs of characters. */
  readonly rouge2?: number
  /** Mean F (β = 1.2) of the longest common subsequence. */
  readonly rougel?: number
  /** Dev rows that were read. */
  readonly rows: number
  /** Duration in ms. */
  readonly ms: number
}

/** How the final weights do on the rows of test.json, which nothing was chosen by. */
export interface PredictEvent extends Omit<EvalEvent, 'type'> {
  readonly type: 'predict'
}

/** Answers of the model as it is, with what the data answers where that is known. */
export interface SampleEvent extends Base {
  readonly type: 'sample'
  /** Optimizer steps done. */
  readonly atStep: number
  /** In the order of the prompts; `reference` is the data's own answer. */
  readonly samples: readonly { readonly prompt: string; readonly answer: string; readonly reference: string | null }[]
}

/** A checkpoint, or the trained weights, stand complete on disk. */
export interface SavedEvent extends Base {
  readonly type: 'saved'
  /** Optimizer steps done. */
  readonly atStep: number
  /** Absolute path of the folder. */
  readonly path: string
  /** True for the trained weights, which stand in the output folder itself. */
  readonly final: boolean
  /** Older checkpoints that made room for this one: absolute paths of the folders that are gone. */
  readonly removed?: readonly string[]
}

/** The final weights stand in a repository of a hub. */
export interface UploadedEvent extends Base {
  readonly type: 'uploaded'
  /** Optimizer steps done. */
  readonly atStep: number
  /** The hub. */
  readonly to: 'huggingface' | 'aistudio'
  /** `OWNER/NAME`. */
  readonly repository: string
  /** The repository's page. */
  readonly url: string
  /** Names of the files that are there now. */
  readonly files: readonly string[]
}

/** Something odd that does not end the run. Of one kind only the first few come. */
export interface WarningEvent extends Base {
  readonly type: 'warning'
  /** Stable, such as `checkpoint.plan`. */
  readonly code: string
  /** What was seen and what to do, in words. */
  readonly message: string
}

/** A command from the front was taken. */
export interface CommandEvent extends Base {
  readonly type: 'command'
  /** `stop`, `pause`, `resume`, `save`, `sample`, `evaluate`, `set`, … */
  readonly command: string
  /** Optimizer steps done. */
  readonly atStep: number
  /** What `set` set. */
  readonly learningRate?: number
}

/** The run ended well. */
export interface DoneEvent extends Turn {
  readonly type: 'done'
  /** Optimizer steps done. */
  readonly atStep: number
  /** True when a stop ended it before its last step. */
  readonly stopped: boolean
  /** Absolute path of the output folder. */
  readonly output: string
  /** The best evaluation, where the plan asks for one, and whether the final weights are those of its checkpoint instead of the last. */
  readonly best?: { readonly step: number; readonly metric: string; readonly value: number; readonly loaded: boolean }
  /** Duration of the run in ms. */
  readonly ms: number
}

/** The run ended by an error, from the worker or, when that died, from the front. */
export interface FailedEvent extends Turn {
  readonly type: 'failed'
  /** The typed error as plain data. */
  readonly error: SerializedError
}

/**
 * Optimizer steps done when the event was told; `null` where it belongs to none. Only `step` events have a field `step`, so
 * that a line of metrics.jsonl with `step` is one step; the others say `atStep`.
 */
export function stepOf(event: RunEvent): number | null {
  if (event.type === 'step') return event.step
  return 'atStep' in event ? event.atStep : null
}
