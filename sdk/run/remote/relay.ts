import { serializeError } from '../../errors'
import { JsonLines } from '../control'
import type { Command } from '../protocol'
import { isOver } from '../read-log'
import type { RunSource } from '../source'
import type { FromRelay, ToRelay } from './protocol'

/** Characters of a line that may come in. */
const longestLine = 64 * 2 ** 20

/** The messages of a stream, until it ends. */
export async function* messagesOf(input: NodeJS.ReadableStream): AsyncGenerator<ToRelay, void, undefined> {
  const lines = new JsonLines(longestLine)
  input.setEncoding('utf8')
  for await (const text of input) yield* lines.push(text as string) as Iterable<ToRelay>
}

/** Tells all of a run, and hands commands to it, until the messages end: because the connection did. */
export async function serveRelay(source: RunSource, messages: AsyncIterable<ToRelay>, send: (message: FromRelay) => void): Promise<void> {
  const tell = teller(source, send), aborts = new Map<number, AbortController>()
  const answer = async (id: number, command: Command): Promise<void> => {
    // Ids are of the connection: the run's worker knows the command by another.
    if (command.name === 'cancel') {
      aborts.get(command.of)?.abort()
      return send({ kind: 'reply', id })
    }
    const abort = new AbortController()
    aborts.set(id, abort)
    let reply: Pick<Extract<FromRelay, { kind: 'reply' }>, 'value' | 'error'>
    try {
      reply = { value: await source.request(command as never, (row, text) => send({ kind: 'token', id, row, text }), abort.signal) }
    } catch (error) { reply = { error: serializeError(error) } }
    aborts.delete(id)
    tell() // what the command changed comes before its reply
    send({ kind: 'reply', id, ...reply })
  }
  source.watch(tell)
  // When a worker ends whose run is over already, nothing calls.
  const timer = setInterval(tell, 1000)
  try {
    for await (const message of messages) if (message.kind === 'command') void answer(message.id, message.command)
  } finally {
    clearInterval(timer)
    source.close()
  }
}

/** Sends what is new: events, progress, then where the run stands. */
function teller(source: RunSource, send: (message: FromRelay) => void): () => void {
  let events = 0, progress: RunSource['progress'] = null, status = ''
  return () => {
    for (; events < source.log.events.length; events++) send({ kind: 'event', event: source.log.events[events] })
    if (source.progress !== null && source.progress !== progress) send({ kind: 'progress', ...source.progress })
    progress = source.progress
    const { dir, id, state, alive, plan } = source, failed = isOver(state) && state !== 'finished' && state !== 'stopped'
    const now: FromRelay = {
      kind: 'status', dir, id, state, alive, plan,
      failure: failed ? serializeError(source.failure()) : null, unreachable: plan === null ? serializeError(source.unreachable()) : null,
    }
    // The stack of an error made anew says nothing new.
    const text = JSON.stringify([dir, id, state, alive, plan, now.failure?.message, now.unreachable?.message])
    if (text !== status) send(now)
    status = text
  }
}
