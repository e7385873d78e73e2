import { serializeError } from '../errors'
import type { Command, Replies } from '../run/protocol'
import type { Ask, Channel } from './channel'
import type { Reporter } from './reporter'
import type { Tasks } from './tasks'

/** Takes the front's commands: between two steps while training, one after the other once it is done. */
export class Commands {
  /** Training shall end at the next step's boundary. */
  stopping = false
  /** The front wants no more answers after the end. */
  closing = false
  private stops: Ask[] = []

  constructor(private readonly channel: Channel, private readonly tasks: Tasks, private readonly reporter: Reporter) {}

  /** Lets messages in, then does all that was asked. `stop` is noted and answered by `stopped`. */
  async between(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    for (let ask = this.channel.take(); ask !== undefined; ask = this.channel.take()) {
      if (ask.command.name === 'stop' || ask.command.name === 'close') {
        this.tell(ask.command)
        this.stops.push(ask)
        this.stopping = true
        this.closing ||= ask.command.name === 'close'
      } else await this.run(ask)
    }
    if (this.channel.interrupted !== null) this.stopping = true
  }

  /** Answers the stops that were noted: with the checkpoint that was left, or the error that there is none. */
  stopped(path: string | null, error?: unknown): void {
    for (const { id, command } of this.stops.splice(0)) {
      if (error !== undefined) this.channel.send({ kind: 'reply', id, error: serializeError(error) })
      else this.channel.send({ kind: 'reply', id, value: command.name === 'stop' ? { path } satisfies Replies['stop'] : undefined })
    }
  }

  /** After training: answers on the final weights until `close`, a signal, or the front's end. */
  async serve(): Promise<void> {
    for (;;) {
      const ask = await this.channel.next()
      if (ask === null) return
      if (ask.command.name === 'close') return this.channel.send({ kind: 'reply', id: ask.id })
      await this.run(ask)
    }
  }

  private async run({ id, command }: Ask): Promise<void> {
    this.tell(command)
    try {
      this.channel.send({ kind: 'reply', id, value: await this.perform(id, command) })
    } catch (error) {
      this.channel.send({ kind: 'reply', id, error: serializeError(error) })
    }
  }

  private async perform(id: number, command: Command): Promise<Replies[Command['name']]> {
    switch (command.name) {
      case 'save': return { path: await this.tasks.save() }
      case 'evaluate': return this.tasks.evaluate()
      case 'generate': {
        const { prompts, generation, chat } = command
        return { texts: await this.tasks.generate(prompts, generation, chat, { onText: (row, text) => this.channel.send({ kind: 'token', id, row, text }), isOver: () => this.isOver(id) }) }
      }
      case 'chat': return this.tasks.chat(command, { onText: (text) => this.channel.send({ kind: 'token', id, row: 0, text }), isOver: () => this.isOver(id) })
      case 'cancel': return undefined // the channel took it at once
      case 'stop': return { path: null } // nothing trains any more
      case 'close': return undefined
    }
  }

  /** Nobody waits for the answer of this command any more. */
  private isOver(id: number): boolean { return this.channel.interrupted !== null || this.channel.isCancelled(id) }

  private tell(command: Command): void { this.reporter.event({ type: 'command', command: command.name, atStep: this.tasks.step }) }
}
