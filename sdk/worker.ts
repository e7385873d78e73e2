// Entry of a rank worker: forked by `start()` (run/worker-process.ts), driven over its IPC pipe.
import { Channel, type Host } from './worker/channel'
import { runWorker } from './worker/run'

// process.exit, because a library's thread or an open pipe would keep an idle process alive.
void runWorker(new Channel(process as unknown as Host)).then((code) => process.exit(code))
