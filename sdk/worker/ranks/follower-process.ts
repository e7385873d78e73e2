// Entry of a rank beside the first one of its machine, which starts it.
import { dieWithParent } from 'fettle-native'
import { serializeError } from '../../errors'
import type { FromRank } from '../../parallel/processes'
import { follow, type FollowerJob } from './follower'

// A rank without its first one has nothing to do, and must not be left behind, not even when it is stopped.
if (!dieWithParent(process.ppid)) process.exit(1)
process.on('disconnect', () => process.exit(1))
// Ctrl-C and the like are for the first rank, which ends the others in order.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)

process.once('message', (job: FollowerJob) => {
  const say = (message: FromRank): void => { process.send!(message, undefined, undefined, () => process.exit(message.kind === 'done' ? 0 : 1)) }
  follow(job, () => process.send!({ kind: 'here' } satisfies FromRank)).then(() => say({ kind: 'done' }), (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack ?? error.message : String(error)}\n`)
    say({ kind: 'failed', error: serializeError(error) })
  })
})
