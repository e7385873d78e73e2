// What must be on the machine before anything is fetched: Node, a C++20 compiler and, to fetch libtorch or Jupyter, Python.
import { spawnSync } from 'node:child_process'
import { SetupError } from './stages.mjs'
import { findCompiler } from './build.mjs'

const INSTALLERS = [
  ['apt-get', { node: 'apt-get install nodejs (20 or later; else https://nodejs.org)', compiler: 'apt-get install g++', python: 'apt-get install python3 python3-pip python3-venv', chromium: 'apt-get install chromium' }],
  ['dnf', { node: 'dnf install nodejs', compiler: 'dnf install gcc-c++', python: 'dnf install python3 python3-pip', chromium: 'dnf install chromium' }],
  ['apk', { node: 'apk add nodejs', compiler: 'apk add g++', python: 'apk add python3 py3-pip', chromium: 'apk add chromium' }],
  ['pacman', { node: 'pacman -S nodejs', compiler: 'pacman -S gcc', python: 'pacman -S python python-pip', chromium: 'pacman -S chromium' }],
  ['brew', { node: 'brew install node', compiler: 'brew install gcc', python: 'brew install python', chromium: 'brew install --cask chromium' }],
]

/** How to get a tool on this machine, in a few words. */
export function remedyFor(tool) {
  const found = INSTALLERS.find(([name]) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0)
  return (found ?? INSTALLERS[0])[1][tool]
}

export function checkNode() {
  const [major] = process.versions.node.split('.').map(Number)
  if (major < 20) throw new SetupError(`Node ${process.versions.node} is too old, need 20 or later: ${remedyFor('node')}`)
}

export function checkPlatform() {
  const { platform, arch } = process
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch))
    throw new SetupError(`Fettle runs on Linux (x64, arm64), this is ${platform} ${arch}: use WSL 2 on Windows, a Linux container on macOS`)
}

/** A compiler that accepts C++20; its name and version line. */
export function checkCompiler() {
  const compiler = findCompiler()
  if (!compiler) throw new SetupError(`no C++ compiler found: ${remedyFor('compiler')}`)
  const probe = spawnSync(compiler.name, ['-std=c++20', '-fopenmp', '-fsyntax-only', '-x', 'c++', '-'], { input: '#include <concepts>\n#include <omp.h>\n#include <span>\nint main() {}\n', encoding: 'utf8' })
  if (probe.status !== 0) throw new SetupError(`${compiler.name} (${compiler.version}) does not compile C++20 with OpenMP, need g++ 11, or clang 14 with libomp: ${remedyFor('compiler')}`)
  return compiler
}

/** Python 3.9+ with the modules asked for; the program's name. */
export function checkPython(modules) {
  const program = process.env.PYTHON ?? 'python3'
  const code = `import sys, importlib.util as u; print('%d.%d' % sys.version_info[:2]); print(' '.join(m for m in sys.argv[1:] if not u.find_spec(m)))`
  const result = spawnSync(program, ['-c', code, ...modules], { encoding: 'utf8' })
  if (result.error || result.status !== 0) throw new SetupError(`no ${program} found (3.9 or later, only to fetch libtorch): ${remedyFor('python')}`)
  const [version, missing] = result.stdout.split('\n')
  const [major, minor] = version.split('.').map(Number)
  if (major < 3 || (major === 3 && minor < 9)) throw new SetupError(`${program} is ${version}, need 3.9 or later: ${remedyFor('python')}`)
  if (missing) throw new SetupError(`${program} ${version} lacks ${missing}: ${remedyFor('python')}`)
  return program
}
