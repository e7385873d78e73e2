import { refuseRanks } from '../../parallel/mesh/fit'
import { parseHosts } from '../../parallel/launch/hosts'
import { toArguments } from '../../plan/arguments/write'
import type { Plan } from '../../plan/plan'
import { refusal, unknownName } from '../../plan/refuse'
import { validatePlan } from '../../plan/validate'
import { reveal } from '../../secret'
import { callHook, displayHook } from '../../views/show'
import { AttachedRun } from '../attach'
import { readReach, type RemoteStartOptions } from './options'
import { RelaySource } from './relay-source'

const known = Object.keys({
  hosts: 0, ssh: 0, program: 0, cwd: 0, master: 0, port: 0, onEvent: 0, startTimeout: 0, tokens: 0, board: 0,
} satisfies Record<keyof RemoteStartOptions, 0>)

/** Starts a run whose ranks are on other hosts, and attaches to it. Paths of the plan are those of the other hosts. */
export async function startRemote(plan: Plan, options: RemoteStartOptions): Promise<AttachedRun> {
  const { program, master, port, tokens = {}, startTimeout = 60_000, onEvent } = options
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown !== undefined) throw unknownName('option of .start({ hosts })', unknown, known)
  if (!Array.isArray(options.hosts) || options.hosts.length === 0) throw refusal('hosts of .start()', 'a list of hosts', options.hosts, ".start({ hosts: ['node1', 'node2:4'] })")
  const valid = validatePlan(plan), hosts = options.hosts.join(), found = parseHosts(hosts)
  refuseRanks(valid.mesh, found.reduce((sum, { slots }) => sum + slots, 0))
  const reach = readReach({ ...options, cwd: options.cwd ?? process.cwd() }, '.start()')
  // Beyond the wait for the first rank: ssh, and the start of Node.
  const source = new RelaySource({ target: found[0].target, port: null }, reach, ['relay', '--start'], startTimeout + 15_000, {
    kind: 'start', arguments: toArguments(valid), hosts, program, master, port, timeout: startTimeout,
    tokens: { huggingface: reveal(tokens.huggingface), aistudio: reveal(tokens.aistudio) },
  })
  await source.ready
  const run = new AttachedRun(source)
  if (onEvent !== undefined) void (async () => { for await (const event of run) onEvent(event) })()
  callHook(displayHook, run, { board: options.board ?? true })
  return run
}
