import type { RemoteFile } from './download'
import type { Endpoint } from './endpoint'
import type { HubFetch } from './fetch'

/** The files of a repository in one of its states. */
export interface Listing {
  /** Names the state: the snapshot's folder is called so. */
  readonly commit: string
  readonly files: ReadonlyMap<string, RemoteFile>
}

/** A place that models are fetched from by name. */
export interface ModelHub {
  /** What stands before a repository's name. */
  readonly prefix: string
  /** The revision that a bare name means. */
  readonly revision: string
  readonly endpoint: () => Endpoint
  /** The files that a model could need, with what their content is checked by. @throws ModelError */
  readonly list: (hub: Endpoint, repository: string, revision: string, fetch: HubFetch) => Promise<Listing>
}

/** A repository is a stranger's: a path that leaves the folder is not taken. */
export function isSafe(path: string): boolean {
  return !/^[/\\]|^[a-zA-Z]:|\\/.test(path) && !path.split('/').includes('..')
}
