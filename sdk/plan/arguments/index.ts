import * as fs from 'node:fs'
import { PlanError } from '../../errors'
import { Secret, type Tokens } from '../../secret'
import { deepFreeze } from '../freeze'
import type { Plan } from '../plan'
import { refusal } from '../refuse'
import { checkConsistent, checkReady, isRecord, validatePlan } from '../validate'
import { refuseContradictions, refuseNotYet } from './contradictions'
import { planFrom } from './convert'
import { idleNotes } from './idle'
import { readJsonObject } from './json'
import { refuseUnknownWords } from './mesh'
import { Arguments } from './read'

export { toArguments } from './write'
export { fieldByName, fields, groups, type Field } from './fields'

/** A plan from arguments, and what was accepted without an effect. */
export interface ParsedArguments {
  /** Checked and frozen. */
  readonly plan: Plan
  /** One sentence for each argument that changes nothing here. */
  readonly notes: readonly string[]
  /** Access tokens that were given, for `start(plan, { tokens })`: no part of the plan. */
  readonly tokens: Tokens
}

/**
 * Turns an argument file into a plan. Names and defaults are those of PaddleNLP's fine-tuning script.
 *
 * @param source The file's text, or the object that it holds.
 * @param overrides Arguments that win over the file, as texts of a command line or typed values.
 * @param file The file's name, for messages: `sft.json:12:3: expected …`.
 * @throws {PlanError} `plan.json` for broken JSON, `plan.unknown`, `plan.value`, `plan.conflict`, `plan.notYet`, `mesh.ranks` where the degrees do not fit the ranks.
 */
export function parseArguments(source: string | Record<string, unknown>, overrides: Record<string, unknown> = {}, file: string | null = null): ParsedArguments {
  const args = new Arguments()
  if (typeof source === 'string') {
    const { values, places } = readJsonObject(source, file ?? 'arguments')
    args.addFile(values, file ?? 'arguments', places)
  } else if (isRecord(source)) args.addFile(source, file)
  else throw refusal('arguments', "an argument file's text or object", source, '{ model_name_or_path: …, dataset_name_or_path: …, output_dir: …, do_train: true }')
  args.addOverrides(overrides)
  refuseContradictions(args)
  refuseUnknownWords(args)
  refuseNotYet(args)
  const plan = planFrom(args)
  checkLengths(args, plan)
  checkConsistent(plan, args.where('src_length', 'max_length', 'min_new_tokens'))
  checkReady(plan)
  const notes = args.changed().filter(({ field }) => field.status === 'note').map(({ field }) => `${field.name} changes nothing: ${field.note}`)
  return { plan: validatePlan(plan), notes: deepFreeze([...notes, ...idleNotes(args)]), tokens: tokensFrom(args) }
}

function tokensFrom(args: Arguments): Tokens {
  const secret = (name: string): Secret | undefined => {
    const text = args.get<string | null>(name)?.trim()
    return text ? new Secret(text) : undefined
  }
  return Object.freeze({ huggingface: secret('hub_token'), aistudio: secret('aistudio_token') })
}

/** The same from a file. */
export function readArguments(file: string, overrides: Record<string, unknown> = {}): ParsedArguments {
  let text: string
  try { text = fs.readFileSync(file, 'utf8') } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is none' : (cause as Error).message
    throw new PlanError('plan.file', `expected an argument file at ${file}, but ${reason}; try the path of a JSON file`, { file }, { cause })
  }
  return parseArguments(text, overrides, file)
}

/** The file's own names in the message that users of files meet most. */
function checkLengths(args: Arguments, { data }: Plan): void {
  if (data.srcLength < data.maxLength) return
  throw refusal('src_length', `less than max_length (${data.maxLength}), so that a target has room`, data.srcLength, `"src_length": ${Math.floor(data.maxLength / 2)}, or a longer max_length`, args.where('src_length', 'max_length'))
}
