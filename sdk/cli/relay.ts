import * as os from 'node:os'
import { PlanError, serializeError } from '../errors'
import { whole } from '../plan/rules'
import { openFolder } from '../run/folder-source'
import { begin } from '../run/remote/begin'
import { version, type FromRelay, type ToRelay } from '../run/remote/protocol'
import { messagesOf, serveRelay } from '../run/remote/relay'
import type { Command } from './command'
import { exitCodeOf, exitCodes } from './exit'
import { takePositionals, type Flag, type Parsed } from './flags'

const flags: readonly Flag[] = [
  { name: 'start', type: 'flag', help: 'start the run that the first line of input describes' },
  { name: 'interval', type: 'number', value: 'MS', help: 'ms between two looks at the log (300)', rule: whole(1, 300, 60_000) },
]

export const relayCommand: Command = {
  name: 'relay',
  summary: "a run's events and controls over stdin and stdout, for attach('ssh://…')",
  usage: ['relay DIR', 'relay --start < ORDER.json'],
  flags,
  async run(parsed, terminal) {
    const send = (message: FromRelay): void => terminal.out(`${JSON.stringify(message)}\n`)
    const messages = messagesOf(process.stdin)
    // Who reads is gone: its input has ended too, or will in a moment.
    process.stdout.on('error', () => undefined)
    send({ kind: 'relay', version })
    try {
      await serveRelay(await openFolder(await folderOf(parsed, messages), parsed.values.interval as number | undefined ?? 300), messages, send)
    } catch (error) {
      send({ kind: 'refused', error: serializeError(error) })
      return exitCodeOf(error)
    }
    return exitCodes.ok
  },
}

async function folderOf(parsed: Parsed, messages: AsyncGenerator<ToRelay, void, undefined>): Promise<string> {
  if (parsed.values.start !== true) return takePositionals(parsed, ['DIR'], 'relay')[0].replace(/^~(?=\/)/, os.homedir())
  const { value: order } = await messages.next()
  if (order?.kind !== 'start') throw new PlanError('cli.missing', 'expected an order on the first line of input for fettle relay --start, got none; .start({ hosts }) sends one', {})
  return begin(order)
}
