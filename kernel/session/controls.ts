import { basename } from 'node:path'
import { rateText } from 'fettle/dist/views/format'
import type { BoardCommand } from 'fettle/dist/views/state'
import type { LiveRun } from 'fettle/dist/views'
import { commandNames } from './from-page'

/** Commands that a run has a method for. */
export function controlsOf(run: LiveRun): BoardCommand['name'][] {
  return commandNames.filter((name) => typeof run[name] === 'function')
}

/** Does what a button asks and says in words what came of it. What the run refuses is thrown. */
export async function obey(run: LiveRun, command: BoardCommand): Promise<string> {
  if (command.name === 'set') {
    await run.set?.({ learningRate: command.learningRate })
    return `learning rate ${rateText(command.learningRate)} from the next step on`
  }
  return said[command.name](await run[command.name]?.())
}

const said: Readonly<Record<Exclude<BoardCommand['name'], 'set'>, (reply: unknown) => string>> = {
  stop: () => 'stopped, with a checkpoint',
  pause: () => 'paused',
  resume: () => 'training again',
  save: (path) => typeof path === 'string' ? `saved ${basename(path)}` : 'saved',
  sample: () => 'sampled',
  evaluate: (reply) => {
    const { loss } = (reply ?? {}) as { readonly loss?: unknown }
    return typeof loss === 'number' ? `evaluated: loss ${loss.toPrecision(4)}` : 'evaluated'
  },
}
