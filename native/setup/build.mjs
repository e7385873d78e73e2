// Builds boot.node and engine.node with a plain C++ compiler, one object file per source, each cached by the hash of
// its text, flags and headers. `node native/setup/build.mjs [--quiet]`
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { SetupError } from './stages.mjs'

const require = createRequire(import.meta.url)
const { findLibtorch, buildFolder, nvidiaPackages, cudaHomes } = require('./find.cjs')
const native = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')

const FLAGS = ['-std=c++20', '-O2', '-fPIC', '-fopenmp', '-fvisibility=hidden', '-DNAPI_VERSION=9', '-Wall', '-Wno-unknown-pragmas']

/** A kernel may ask for flags of its own, such as an instruction set, in a line `// flags: -mavx2 -mfma`. */
function ownFlags(text) {
  return (text.match(/^\/\/ flags: (.*)$/m)?.[1] ?? '').split(/\s+/).filter(Boolean)
}

/** Every source of the addon: our own, then the kernels, whose files are found as they come. */
function sources() {
  const found = []
  for (const folder of ['src', 'kernels']) {
    const base = path.join(native, folder)
    if (!fs.existsSync(base)) continue
    for (const name of fs.readdirSync(base, { recursive: true })) if (/\.cc$/.test(name)) found.push(path.join(base, name))
  }
  return found.sort()
}

/** The text of our own headers that a source includes, followed through. */
function headersOf(file, seen = new Set()) {
  for (const [, name] of fs.readFileSync(file, 'utf8').matchAll(/^\s*#include "([^"]+)"/gm)) {
    const header = [path.join(path.dirname(file), name), path.join(native, 'src', name), path.join(native, 'kernels', name)].find((p) => fs.existsSync(p))
    if (!header || seen.has(header)) continue
    seen.add(header)
    headersOf(header, seen)
  }
  return seen
}

function hashOf(parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex').slice(0, 24)
}

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    child.stderr.on('data', (data) => (output += data))
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve(output) : reject(new SetupError(`${command} failed on ${args.at(-3) ?? ''}\n${output.slice(0, 6000)}`))))
  })
}

/** The C++ compiler: CXX, g++, c++ or clang++, whichever answers first. */
export function findCompiler() {
  for (const name of [process.env.CXX, 'g++', 'c++', 'clang++']) {
    if (!name) continue
    const result = spawnSync(name, ['--version'], { encoding: 'utf8' })
    if (result.status === 0) return { name, version: result.stdout.split('\n')[0] }
  }
  return undefined
}

function plan(torch, compiler) {
  const napi = require('node-api-headers').include_dir
  const include = ['-isystem', path.join(torch.folder, 'include'), '-isystem', path.join(torch.folder, 'include/torch/csrc/api/include'), '-I', napi, '-I', path.join(native, 'src')]
  const folder = buildFolder(torch.version)
  const objects = sources().map((file) => {
    const text = fs.readFileSync(file, 'utf8')
    const flags = [...FLAGS, ...ownFlags(text)]
    const headers = [...headersOf(file)].map((header) => fs.readFileSync(header, 'utf8'))
    const key = hashOf([compiler.name, compiler.version, torch.version, ...flags, text, ...headers])
    const name = path.relative(native, file).replace(/[\\/]/g, '-').replace(/\.cc$/, '')
    return { file, flags, name, object: path.join(folder, 'objects', `${name}-${key}.o`), include }
  })
  const boot = path.join(native, 'src', 'boot.c')
  const key = hashOf([fs.readFileSync(boot, 'utf8'), ...objects.map((o) => path.basename(o.object))])
  return { folder, objects, boot, napi, key, torch, compiler }
}

/** True when the built addon is the one that sources and libtorch ask for. */
function upToDate(p) {
  try {
    return JSON.parse(fs.readFileSync(path.join(p.folder, 'stamp.json'), 'utf8')).key === p.key && fs.existsSync(path.join(p.folder, 'engine.node'))
  } catch {
    return false
  }
}

async function compile(p, report) {
  const waiting = p.objects.filter((o) => !fs.existsSync(o.object))
  const total = waiting.length
  let finished = 0
  // Each compiler takes about 1 GB.
  const jobs = Math.max(1, Math.min(os.availableParallelism?.() ?? os.cpus().length, Math.floor(os.freemem() / 2 ** 30), 8))
  const worker = async () => {
    for (let o = waiting.shift(); o; o = waiting.shift()) {
      const temporary = `${o.object}.${process.pid}.tmp`
      await run(p.compiler.name, [...o.flags, ...o.include, '-c', o.file, '-o', temporary])
      fs.renameSync(temporary, o.object)
      report(`compiled ${++finished} of ${total}: ${o.name}`)
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
}

/** Links under temporary names and renames: a process that has the old addon open keeps it. */
async function link(p) {
  const lib = path.join(p.torch.folder, 'lib')
  const boot = path.join(p.folder, `boot.${process.pid}.tmp`)
  const engine = path.join(p.folder, `engine.${process.pid}.tmp`)
  const c = p.compiler.name
  await run(c, ['-x', 'c', '-O2', '-fPIC', '-shared', '-I', p.napi, p.boot, '-ldl', '-o', boot])
  // g++ leaves OpenMP's symbols to the libgomp that libtorch brings along; clang++ speaks to another runtime, its own.
  const openmp = /clang/.test(p.compiler.version) ? ['-fopenmp'] : []
  await run(c, ['-shared', ...openmp, ...p.objects.map((o) => o.object), '-L', lib, '-ltorch_cpu', '-lc10', '-Wl,--as-needed', '-o', engine])
  fs.renameSync(boot, path.join(p.folder, 'boot.node'))
  fs.renameSync(engine, path.join(p.folder, 'engine.node'))
  fs.writeFileSync(path.join(p.folder, 'stamp.json'), JSON.stringify({ key: p.key, torch: p.torch.version, compiler: p.compiler.version }) + '\n')
  const used = new Set(p.objects.map((o) => path.basename(o.object)))
  for (const name of fs.readdirSync(path.join(p.folder, 'objects'))) if (name.endsWith('.o') && !used.has(name)) fs.rmSync(path.join(p.folder, 'objects', name))
}

/** Addons that are built only where libtorch has CUDA and their headers are found. */
const CUDA_ADDONS = {
  nccl: ['nccl.h', 'cuda_runtime_api.h', 'cublas_v2.h', 'cusparse.h', 'cusolverDn.h', 'crt/host_defines.h'],
  graphs: ['cuda_runtime_api.h', 'crt/host_defines.h'],
}

/** Folders of CUDA's headers: those of the wheels, then an installed CUDA. Undefined where one of them is missing. */
function cudaIncludes(torch, headers) {
  const folders = [...nvidiaPackages(torch.folder), ...cudaHomes(), '/usr'].map((folder) => path.join(folder, 'include')).filter((folder) => fs.existsSync(folder))
  return headers.every((name) => folders.some((folder) => fs.existsSync(path.join(folder, name)))) ? folders.filter((folder) => folder !== '/usr/include') : undefined
}

/**
 * nccl.node, for ranks on GPUs, or graphs.node, for CUDA graphs. They are linked against nothing of CUDA's, whose libraries
 * are open when they are loaded. Returns the file; undefined where libtorch has no CUDA or a header is missing.
 * @param forced compiles without libtorch_cuda too, which shows that the source fits the headers
 */
export async function buildCudaAddon(name, p, report = () => {}, forced = false) {
  const target = path.join(p.folder, `${name}.node`), source = path.join(native, name, `${name}.cc`)
  const includes = forced || fs.existsSync(path.join(p.torch.folder, 'lib', 'libtorch_cuda.so')) ? cudaIncludes(p.torch, CUDA_ADDONS[name]) : undefined
  if (includes === undefined) return undefined
  const key = hashOf([fs.readFileSync(source, 'utf8'), p.torch.version, p.compiler.version, ...includes]), stamp = `${target}.json`
  if (fs.existsSync(target) && fs.existsSync(stamp) && JSON.parse(fs.readFileSync(stamp, 'utf8')).key === key) return target
  const torch = [path.join(p.torch.folder, 'include'), path.join(p.torch.folder, 'include/torch/csrc/api/include')]
  const temporary = path.join(p.folder, `${name}.${process.pid}.tmp`), lib = path.join(p.torch.folder, 'lib')
  report(`compiling ${name}`)
  await run(p.compiler.name, [...FLAGS, ...[...torch, ...includes].flatMap((folder) => ['-isystem', folder]), '-I', p.napi, '-shared', source, '-L', lib, '-ltorch_cpu', '-lc10', '-o', temporary])
  fs.renameSync(temporary, target)
  fs.writeFileSync(stamp, JSON.stringify({ key }) + '\n')
  return target
}

/** What a build works with: the libtorch and the compiler at hand. */
export function buildPlan() {
  const torch = findLibtorch()
  if (!torch.folder) throw new SetupError(`libtorch not found${torch.rejected.map((r) => `; ${r.source}: ${r.folder}: ${r.reason}`).join('')}; run: npm run setup`)
  const compiler = findCompiler()
  if (!compiler) throw new SetupError('no C++ compiler found; install g++ 11 or later, or clang 14')
  return plan(torch, compiler)
}

/** True when an addon for the libtorch at hand stands, whether or not its sources changed since. */
export function builtAlready() {
  const torch = findLibtorch()
  return Boolean(torch.folder) && fs.existsSync(path.join(buildFolder(torch.version), 'engine.node'))
}

/** Builds what is out of date; returns { folder, built }. */
export async function build(report = () => {}) {
  const p = buildPlan(), built = !upToDate(p)
  if (built) {
    fs.mkdirSync(path.join(p.folder, 'objects'), { recursive: true })
    await compile(p, report)
    await link(p)
  }
  for (const name of Object.keys(CUDA_ADDONS)) await buildCudaAddon(name, p, report)
  return { folder: p.folder, built, torch: p.torch }
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const quiet = process.argv.includes('--quiet')
  const start = Date.now()
  build((line) => quiet || console.log(line)).then(
    ({ folder, built }) => quiet || console.log(`${built ? 'built' : 'up to date'}: ${folder} (${((Date.now() - start) / 1000).toFixed(1)} s)`),
    (error) => {
      console.error(error.message)
      process.exitCode = 1
    },
  )
}
