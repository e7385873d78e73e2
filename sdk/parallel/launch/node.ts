import { checkRanges, type Claim, type RankEnvironment } from './rank'
import { environmentError } from './variables'

/** Which machine of several this one is, as far as its environment says, and how many ranks it should have. */
export interface NodeEnvironment {
  /** From 0 to `nodes` − 1. */
  readonly node: number
  readonly nodes: number
  /** Ranks on each machine; null leaves it to the launcher: one a GPU, or one. */
  readonly ranksPerNode: number | null
  /** Name or address of node 0. */
  readonly masterAddress: string
  /** TCP port of the store there. */
  readonly masterPort: number
  readonly source: 'fettle' | 'pet'
}

/** The ranks of a node: one after the other, so that neighbours in rank share a machine. */
export function ranksOfNode(place: NodeEnvironment, ranksPerNode: number): RankEnvironment[] {
  const { node, nodes, masterAddress, masterPort, source } = place
  return Array.from({ length: ranksPerNode }, (_, localRank) => checkRanges({
    rank: node * ranksPerNode + localRank, worldSize: nodes * ranksPerNode, localRank, localWorldSize: ranksPerNode, masterAddress, masterPort, source,
  }))
}

/** A node with one rank is that rank. With more, one process cannot be all of them: `fettle launch` starts them. */
export function claimOfNode(place: NodeEnvironment): Claim {
  const ranks = place.ranksPerNode ?? 1
  return {
    source: place.source, rank: place.node * ranks, worldSize: place.nodes * ranks, localWorldSize: ranks,
    finish: () => {
      if (place.ranksPerNode === 1) return ranksOfNode(place, 1)[0]
      const name = place.source === 'pet' ? 'PET_NPROC_PER_NODE' : 'FETTLE_RANKS_PER_NODE'
      const said = place.ranksPerNode === null ? `leaves the number of ranks on this node to the launcher` : `says ${place.ranksPerNode} ranks on this node, and one process is one rank`
      throw environmentError(`${name} ${said}`, [name], `start them all with fettle launch -- run …, or set ${name} to 1`, 'launch.node')
    },
  }
}
