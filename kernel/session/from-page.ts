import { PlanError } from 'fettle/dist/errors'
import type { BoardCommand } from 'fettle/dist/views/state'
import type { FromPage } from './lab-protocol'

/** Commands that a page may ask of a run: nothing else of a handle is reached by name. */
export const commandNames: readonly BoardCommand['name'][] = ['stop', 'pause', 'resume', 'save', 'sample', 'evaluate', 'set']

/** A page's message whose command is still to be read, so that what it asked wrongly is answered. */
export type PageMessage = Exclude<FromPage, { type: 'command' }> | { readonly type: 'command'; readonly id: string; readonly run: string; readonly command: unknown }

const isName = (value: unknown): value is string => typeof value === 'string' && value.length <= 200

/** A page's message, or `null` for what is none: any script on the page, and any client of the kernel, can send what it likes. */
export function readMessage(data: unknown): PageMessage | null {
  if (typeof data !== 'object' || data === null) return null
  const { type, id, run, command, chat, text, of } = data as Readonly<Record<string, unknown>>
  switch (type) {
    case 'hello': case 'alive': return { type }
    case 'command': return isName(id) && isName(run) ? { type, id, run, command } : null
    case 'ask': return isName(chat) && typeof text === 'string' ? { type, chat, text } : null
    case 'cancel': case 'clear': return isName(chat) ? { type, chat } : null
    case 'keep': return isName(of) ? { type, of } : null
    default: return null
  }
}

/** @throws PlanError `run.command` */
export function readCommand(command: unknown): BoardCommand {
  const { name, learningRate } = (typeof command === 'object' && command !== null ? command : {}) as Readonly<Record<string, unknown>>
  const known = commandNames.find((each) => each === name)
  if (known === undefined || (known === 'set' && typeof learningRate !== 'number')) {
    throw new PlanError('run.command', `expected one of ${commandNames.join(', ')} (set with a learningRate) for a command, got ${JSON.stringify(command)?.slice(0, 200)}; reload the page, so that it and the kernel are of one version`, { name: String(name).slice(0, 200) })
  }
  return known === 'set' ? { name: known, learningRate: learningRate as number } : { name: known }
}
