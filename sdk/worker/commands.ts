import { PlanError, serializeError } from '../errors'
import { isCollateral } from '../parallel/processes'
import { readProfileOptions } from '../run/profile-options'
import { readRate } from '../run/rate'
import type { Command, Replies } from '../run/protocol'
import type { Ask, Channel } from './channel'
import type { Reporter } from './reporter'
import type { Tasks } from './tasks'

/** A front of another version may ask for more. */
const known = Object.keys({
  stop: 0, pause: 0, resume: 0, save: 0, evaluate: 0, sample: 0, set: 0, profile: 0, generate: 0, chat: 0, cancel: 0, close: 0,
} satisfies Record<Command['name'], 0>)

/** Takes the fronts' commands: between two steps while training, one after the other once it is done. */
export class Commands {
  /** Training shall end at the next step's boundary. */
  stopping = false
  /** The front wants no more answers after the end. */
  closing = false
  private state: 'training' | 'paused' | 'over' = 'training'
  private stops: Ask[] = []

  constructor(private readonly channel: Channel, private readonly tasks: Tasks, private readonly reporter: Reporter) {}

  /**
   * Lets messages in, then does all that was asked; while the run is paused it stays here. `stop` is noted and answered by
   * `stopped`.
   * @param last no step follows, so that there is nothing to pause
   */
  async between(last = false): Promise<void> {
    if (last) this.state = 'over'
    await this.channel.settle()
    for (let ask = this.channel.take(); ask !== undefined; ask = await this.following()) {
      if (ask.command.name === 'stop' || ask.command.name === 'close') this.noteStop(ask)
      else await this.run(ask)
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

  /** After training: answers on the final weights until `close`, a signal, or the end of its fronts. */
  async serve(): Promise<void> {
    this.state = 'over'
    this.channel.over()
    for (;;) {
      const ask = await this.channel.next({ watched: true })
      if (ask === null) return
      if (ask.command.name === 'close') return this.channel.send({ kind: 'reply', id: ask.id })
      await this.run(ask)
    }
  }

  /** The next command that is there; while paused the next that comes, unless the run shall end. */
  private async following(): Promise<Ask | undefined> {
    if (this.state !== 'paused' || this.stopping) return this.channel.take()
    return await this.channel.next() ?? undefined
  }

  private noteStop(ask: Ask): void {
    this.tell(ask.command)
    this.stops.push(ask)
    this.stopping = true
    this.closing ||= ask.command.name === 'close'
  }

  private async run({ id, command }: Ask): Promise<void> {
    try {
      this.check(command)
      // A question of a conversation controls nothing, and a long one would bury what does.
      if (command.name !== 'chat') this.tell(command)
      if (command.name === 'profile') return this.profile(id, command)
      this.channel.send({ kind: 'reply', id, value: await this.perform(id, command) })
    } catch (error) {
      const cause = await this.tasks.explain(error)
      this.channel.send({ kind: 'reply', id, error: serializeError(cause) })
      // A rank that is gone takes the run with it; any other error is the command's own.
      if (error instanceof Error && isCollateral(error)) throw cause
    }
  }

  /**
   * Refuses a command that makes no sense now, before it counts as taken.
   * @throws PlanError `run.command`, `run.state`, `run.no-training`, `plan.value`
   */
  private check(command: Command): void {
    const { name } = command
    if (!known.includes(name)) throw new PlanError('run.command', `expected one of ${known.join(', ')} for a command, got ${JSON.stringify(name).slice(0, 200)}; use the Fettle version that started the run`, { command: name })
    if (name !== 'pause' && name !== 'resume' && name !== 'set' && name !== 'profile') return
    if (!this.tasks.trains) throw new PlanError('run.no-training', `expected a run that trains for ${name}(), got one that only evaluates; leave it to its end, or stop() it`, { command: name })
    const at = this.state === 'over' ? 'over' : this.stopping ? 'stopping' : this.state
    const remedy = { over: 'start another run, with .resume() to train on from a checkpoint', stopping: '.resume() of the builder goes on from its checkpoint', paused: 'try resume(), or stop()', training: 'try pause() first' }[at]
    const allowed = name === 'set' || name === 'profile' ? ['training', 'paused'] : name === 'pause' ? ['training'] : ['paused']
    if (!allowed.includes(at)) throw new PlanError('run.state', `expected a run that is ${allowed.join(' or ')} for ${name}(), got one that is ${at}, after step ${this.tasks.step}; ${remedy}`, { command: name, state: at, atStep: this.tasks.step })
    if (command.name === 'set') readRate(command.learningRate)
    if (command.name === 'profile') readProfileOptions({ steps: command.steps, skip: command.skip })
  }

  private async perform(id: number, command: Command): Promise<Replies[Command['name']]> {
    switch (command.name) {
      case 'pause': this.state = 'paused'; return undefined
      case 'resume': this.state = 'training'; return undefined
      case 'set': this.tasks.setLearningRate(command.learningRate); return undefined
      case 'save': return { path: await this.tasks.save() }
      case 'evaluate': return await this.tasks.evaluate() ?? this.left('evaluate')
      case 'sample': return await this.tasks.sample() ?? this.left('sample')
      case 'generate': {
        const { prompts, generation, chat } = command
        return { texts: await this.tasks.generate(prompts, generation, chat, { onText: (row, text) => this.channel.send({ kind: 'token', id, row, text }), isOver: () => this.isOver(id) }) }
      }
      case 'chat': return this.tasks.chat(command, { onText: (text) => this.channel.send({ kind: 'token', id, row: 0, text }), isOver: () => this.isOver(id) })
      case 'cancel': return undefined // the channel took it at once
      case 'profile': return undefined // `run` took it: its answer comes behind steps
      case 'stop': return { path: null } // nothing trains any more
      case 'close': return undefined
    }
  }

  /** Answers when the steps are done, which run meanwhile. */
  private profile(id: number, { steps, skip }: Extract<Command, { name: 'profile' }>): void {
    this.tasks.profiling.ask({
      steps, skip, answer: (value) => this.channel.send({ kind: 'reply', id, value }),
      fail: (error) => this.channel.send({ kind: 'reply', id, error: serializeError(error) }),
    })
  }

  private left(command: string): never {
    throw new PlanError('run.leaving', `the run was stopped before ${command}() was through; ask again now that it has stopped, or go on with .resume()`, { command, atStep: this.tasks.step })
  }

  /** Nobody waits for the answer of this command any more, or the run shall stop: it ends with what it has. */
  private isOver(id: number): boolean { return this.channel.isLeaving || this.channel.isCancelled(id) }

  private tell(command: Command): void {
    this.reporter.event({ type: 'command', command: command.name, atStep: this.tasks.step, ...(command.name === 'set' ? { learningRate: command.learningRate } : {}) })
  }
}
