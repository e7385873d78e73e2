// The npm packages of the lock file, and the compiled TypeScript.
import fs from 'node:fs'
import path from 'node:path'
import { createHash } from 'node:crypto'
import { command } from './stages.mjs'

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** True when node_modules holds every package of the lock file at its version. */
export function packagesInstalled(root) {
  const lock = readJson(path.join(root, 'package-lock.json'))
  const installed = readJson(path.join(root, 'node_modules', '.package-lock.json'))
  if (!lock || !installed) return false
  return Object.entries(lock.packages).every(([key, wanted]) => {
    if (!key.startsWith('node_modules/') && !key.includes('/node_modules/')) return true
    const there = installed.packages[key]
    // Optional packages of other platforms are in the lock file but not on the disk.
    if (!there) return Boolean(wanted.optional || wanted.devOptional)
    return there.version === wanted.version && fs.existsSync(path.join(root, key))
  })
}

export async function installPackages(root, note) {
  if (packagesInstalled(root)) return undefined
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, [process.env.npm_execpath]] : ['npm', []]
  await command(npm[0], [...npm[1], 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], { cwd: root, note, remedy: 'npm could not install the packages of package-lock.json; check the registry and try again' })
  return `${Object.keys(readJson(path.join(root, 'package-lock.json')).packages).length} packages`
}

const PROJECTS = ['native', 'sdk', 'kernel', 'tests']

/** Path, size and time of every TypeScript source: what the compiled files depend on. */
function sourceKey(root) {
  const hash = createHash('sha256')
  const visit = (folder) => {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      if (entry.name === 'node_modules' || entry.name === 'dist' || entry.name === 'fixtures' || entry.name.startsWith('.')) continue
      const file = path.join(folder, entry.name)
      if (entry.isDirectory()) visit(file)
      else if (/\.ts$|tsconfig.*\.json$|^build\.mjs$/.test(entry.name)) {
        const { size, mtimeMs } = fs.statSync(file)
        hash.update(`${file} ${size} ${mtimeMs}\n`)
      }
    }
  }
  for (const project of PROJECTS) if (fs.existsSync(path.join(root, project))) visit(path.join(root, project))
  for (const name of ['package-lock.json', 'tsconfig.json', 'tsconfig.base.json']) hash.update(fs.readFileSync(path.join(root, name)))
  return hash.digest('hex')
}

export async function compileTypeScript(root, home, note) {
  const stamp = path.join(home, 'typescript.stamp')
  const key = sourceKey(root)
  const compiled = PROJECTS.filter((p) => fs.existsSync(path.join(root, p, 'tsconfig.json'))).every((p) => fs.existsSync(path.join(root, p, 'dist')))
  if (compiled && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === key) return undefined
  await command(process.execPath, [path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b'], { cwd: root, note })
  for (const bundle of ['sdk/views/page/build.mjs', 'kernel/labextension/build.mjs']) await command(process.execPath, [path.join(root, bundle)], { cwd: root, note })
  fs.mkdirSync(home, { recursive: true })
  fs.writeFileSync(stamp, key)
  return 'compiled'
}
