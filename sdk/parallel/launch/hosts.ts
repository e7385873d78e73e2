import { conflict, refusal } from '../../plan/refuse'
import { isLoopback, loopback, type RankEnvironment } from './rank'

/** A machine of `--hosts`. */
export interface Host {
  /** As ssh takes it: `node1`, `me@node1`. */
  readonly target: string
  /** Without the user: how the other machines reach it. */
  readonly address: string
  /** Ranks on it. */
  readonly slots: number
}

/** A host as ssh takes it, perhaps with a user. Neither can begin with a dash, which ssh would read as an option. */
export const targetPattern = String.raw`(?<target>(?:\w[\w.-]*@)?(?<address>\w[\w.-]*|\[[\da-fA-F:]+\]))`

const pattern = new RegExp(String.raw`^${targetPattern}(?::(?<slots>\d+))?$`)

/** `a,b:4,me@c`: hosts with their ranks, one where none are said. */
export function parseHosts(text: string): Host[] {
  const hosts = text.split(',').map((part) => {
    const { target, address, slots = '1' } = pattern.exec(part.trim())?.groups ?? {}
    if (target === undefined || Number(slots) < 1 || Number(slots) > 1024) throw refusal('--hosts', 'hosts with their numbers of ranks', text, '--hosts node1,node2:4')
    const bare = (name: string) => name.replace(/\[|\]/g, '')
    return { target: bare(target), address: bare(address), slots: Number(slots) }
  })
  const twice = hosts.find((host, i) => hosts.findIndex((other) => other.address === host.address) !== i)
  if (twice) throw conflict(['hosts'], `--hosts names ${twice.address} twice`, `${twice.address}:2 for two ranks there`)
  return hosts
}

/** All ranks, host after host; they meet on the first one. Throws a `PlanError` where that is loopback, which each would look for on itself. */
export function ranksOfHosts(hosts: readonly Host[], meeting: { master?: string; port: number; runId: string }): { host: Host; rank: RankEnvironment }[] {
  const worldSize = hosts.reduce((sum, { slots }) => sum + slots, 0)
  const masterAddress = meeting.master ?? (hosts.length === 1 ? loopback : hosts[0].address)
  if (hosts.length > 1 && isLoopback(masterAddress)) {
    throw refusal('--master', 'an address of the first machine that the others can reach', masterAddress, `--master NAME, or another name of ${hosts[0].address} in --hosts`)
  }
  let first = 0
  return hosts.flatMap((host) => {
    const ranks = Array.from({ length: host.slots }, (_, localRank) => ({ host, rank: {
      rank: first + localRank, worldSize, localRank, localWorldSize: host.slots, masterAddress, masterPort: meeting.port, source: 'fettle', runId: meeting.runId,
    } as const }))
    first += host.slots
    return ranks
  })
}
