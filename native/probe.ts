// Run as a child process by the doctor: loads the addon and prints what it finds as one line of JSON. A crash of the
// load itself then shows in the parent as an exit code, not as its own end.
import { cudaKernels } from './cuda'
import { call } from './operator'
import { cpuCapability, devices, getThreads, libtorchVersion } from './system'

try {
  process.stdout.write(JSON.stringify({ version: libtorchVersion(), capability: cpuCapability(), blocks: call('fettle::kernels', ''), threads: getThreads(), devices: devices(), cuda: cudaKernels() }))
} catch (error) {
  process.stdout.write(JSON.stringify({ failure: (error as Error).message }))
}
