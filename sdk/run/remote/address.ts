import { WorkerError } from '../../errors'
import { targetPattern } from '../../parallel/launch/hosts'
import { refusal } from '../../plan/refuse'

/** A run's output folder on another host: `ssh://me@host:2222/path`. */
export interface Address {
  /** As ssh takes it: `host`, `me@host`. */
  readonly target: string
  /** ssh's port, where it is named. */
  readonly port: string | null
  /** The folder, absolute or, with `~/` in front, in the user's home. Characters are as they are: nothing is escaped. */
  readonly path: string
}

const scheme = 'ssh://'
const pattern = new RegExp(`^${scheme}${targetPattern}(?::(?<port>\\d{1,5}))?(?<path>/.+)$`, 's')

/** True for what is meant as an address, right or wrong. */
export function isAddress(text: string): boolean { return text.startsWith(scheme) }

/** @throws PlanError `plan.value` */
export function readAddress(text: string): Address {
  const { target, port = null, path } = pattern.exec(text)?.groups ?? {}
  if (target === undefined) throw refusal('attach()', 'ssh://HOST/PATH', text, "attach('ssh://me@node1/home/me/output')")
  return { target: target.replace(/\[|\]/g, ''), port, path: path.replace(/^\/(?=~\/)/, '') }
}

/** What `attach()` takes for a folder, whose path is absolute. */
export function addressOf({ target, port }: Pick<Address, 'target' | 'port'>, path: string): string {
  const [user, host = user] = target.split(/@(?=[^@]*$)/)
  const bare = host.includes(':') ? `[${host}]` : host
  return `${scheme}${target.includes('@') ? `${user}@` : ''}${bare}${port === null ? '' : `:${port}`}${path}`
}

/**
 * The folder, where it is one of this host: what reads a run's files cannot read those of another.
 * @throws WorkerError `run.elsewhere`
 */
export function here(dir: string): string {
  if (isAddress(dir)) throw new WorkerError('run.elsewhere', `the files of ${dir} are on another host; open them there, or copy the folder here`, { dir })
  return dir
}
