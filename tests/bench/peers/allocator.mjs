// The allocator that the best forms run on: tcmalloc of the machine, or of its distribution's package, unpacked beside the environments.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const folders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib', '/usr/local/lib']
const libraries = ['libtcmalloc_minimal.so.4', 'libtcmalloc.so.4']
/** Debian's names before and after its change of time_t. */
const debs = ['libtcmalloc-minimal4', 'libtcmalloc-minimal4t64']

const installed = () => folders.flatMap((folder) => libraries.map((name) => join(folder, name))).find(existsSync)
const unpacked = (folder) => existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => libraries.some((library) => name.endsWith(library))).map((name) => join(folder, name))[0] : undefined

/** Fetches the package and unpacks it, without installing anything; undefined where the machine has no apt or the package is not to be had. */
function fetched(folder) {
  mkdirSync(folder, { recursive: true })
  const run = (command, args) => spawnSync(command, args, { cwd: folder, stdio: 'ignore' }).status === 0
  for (const name of debs) {
    if (!run('apt-get', ['download', name])) continue
    const file = readdirSync(folder).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'))
    if (file && run('dpkg-deb', ['-x', file, '.'])) return unpacked(folder)
  }
  return undefined
}

/** Path of tcmalloc to preload; undefined where there is none, and then the peers run on the system's allocator, which their form says. */
export function tcmalloc(folder) { return installed() ?? unpacked(folder) ?? fetched(folder) }
