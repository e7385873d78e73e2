import * as dns from 'node:dns/promises'
import * as net from 'node:net'
import { Store } from 'fettle-native'
import { EnvironmentError } from '../errors'
import type { RankEnvironment } from './launch'
import type { MeshShape } from './mesh/mesh'
import { Ranks, waits } from './ranks'

/** Where ranks that a launcher started meet, and which one this is. */
export type Meeting = Pick<RankEnvironment, 'rank' | 'worldSize' | 'localRank' | 'localWorldSize' | 'masterAddress' | 'masterPort' | 'storeServed' | 'restartCount' | 'runId'>

/**
 * Meets the other ranks at the master's TCP store, which the first rank serves unless its launcher does. Groups speak over the
 * address of this machine that reaches the master; on one machine that is the loopback.
 * @throws EnvironmentError `launch.master` when the master does not answer
 */
export async function meetRemote(shape: MeshShape, meeting: Meeting, gpu: boolean): Promise<Ranks> {
  const { rank, worldSize, localRank, localWorldSize, masterAddress, masterPort, storeServed = false, restartCount = 0, runId = '' } = meeting
  const serves = rank === 0 && !storeServed, host = await alone(masterAddress)
  const store = serves ? Store.tcp(host, masterPort, worldSize, true, waits.start) : null
  const address = await ownAddress(host, masterPort)
  return Ranks.join(shape, {
    store: store ?? Store.tcp(host, masterPort, worldSize, false, waits.start), rank, localRank, localSize: localWorldSize,
    timeout: waits.collective, commandTimeout: waits.command, address, gpu, prefix: `fettle/${runId}/${restartCount}/`,
  })
}

/** The loopback by its number, by which nothing else is meant. */
async function alone(master: string): Promise<string> {
  const { address } = await dns.lookup(master)
  return address.startsWith('127.') || address === '::1' ? '127.0.0.1' : master
}

/** The address by which this machine reaches the master, and its peers reach it. */
async function ownAddress(master: string, port: number): Promise<string> {
  if (master === '127.0.0.1') return master
  const { address } = await dns.lookup(master)
  const until = Date.now() + waits.start
  for (;;) {
    try {
      return await localAddress(address, port)
    } catch (cause) {
      if (Date.now() > until) throw new EnvironmentError('launch.master', `nothing answers at ${master}:${port}, where the first rank should wait for the others: ${(cause as Error).message}; check MASTER_ADDR and MASTER_PORT, and that the first rank's machine lets the others in`, { master, port }, { cause })
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}

function localAddress(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, host, () => {
      const { localAddress: address } = socket
      socket.destroy()
      resolve(address!.replace(/^::ffff:/, ''))
    })
    socket.on('error', reject)
  })
}
