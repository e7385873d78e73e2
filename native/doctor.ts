import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, cpus, freemem, totalmem } from 'node:os'
import { delimiter, join } from 'node:path'
import { cudaFiles, type CudaKernels } from './cuda'
import { finder, libtorch, type Libtorch } from './library'
import type { DeviceInfo } from './system'

/** One thing that is wrong, and what to do. */
export interface Problem {
  /** What is missing or broken, in one line. */
  readonly what: string
  /** The command or setting that puts it right. */
  readonly remedy: string
  /** True when Fettle cannot train because of it. */
  readonly fatal: boolean
}

/** What the machine has. */
export interface Report {
  readonly node: string
  readonly compiler?: string
  readonly python?: string
  readonly libtorch?: Libtorch
  /** The addon for this libtorch is built and loads. */
  readonly addon: boolean
  readonly devices: readonly DeviceInfo[]
  /** What kernels of ours on GPUs need; left out where the addon does not load. */
  readonly cuda?: CudaKernels
  readonly cpu: { model: string; cores: number; features: readonly string[]; capability?: string; blocks?: string }
  /** Bytes. */
  readonly memory: { total: number; free: number }
  /** Bytes free where the machine-local state lives, and that folder. */
  readonly disk: { folder: string; free: number }
  readonly jupyter?: string
  readonly browser?: string
  readonly problems: readonly Problem[]
}

interface Probe {
  version?: string
  capability?: string
  blocks?: string
  devices?: DeviceInfo[]
  cuda?: CudaKernels
  failure?: string
}

/** First line that a program prints about itself; undefined when there is no such program. */
function firstLine(program: string, args: string[]): string | undefined {
  const result = spawnSync(program, args, { encoding: 'utf8', timeout: 15000 })
  return result.status === 0 ? (result.stdout || result.stderr).split('\n')[0].trim() : undefined
}

function compiler(): string | undefined {
  for (const name of [process.env.CXX, 'g++', 'c++', 'clang++']) {
    const line = name && firstLine(name, ['--version'])
    if (line) return line
  }
  return undefined
}

/** The features that decide which kernels run. */
const TELLING = ['avx', 'avx2', 'fma', 'avx512f', 'avx512vl', 'avx512_bf16', 'avx512_fp16', 'avx512_vnni', 'avx_vnni', 'amx_tile', 'amx_bf16', 'amx_int8', 'neon', 'asimd', 'sve', 'bf16', 'i8mm']

function cpuFeatures(): string[] {
  try {
    const flags = new Set(readFileSync('/proc/cpuinfo', 'utf8').match(/^(?:flags|Features)\s*:\s*(.*)$/m)?.[1].split(' ') ?? [])
    return TELLING.filter((name) => flags.has(name))
  } catch {
    return []
  }
}

function probe(): Probe {
  try {
    const output = execFileSync(process.execPath, [join(__dirname, 'probe.js')], { encoding: 'utf8', timeout: 60000, stdio: ['ignore', 'pipe', 'pipe'] })
    return JSON.parse(output) as Probe
  } catch (error) {
    const { signal, stderr, message } = error as Error & { signal?: string; stderr?: string }
    return { failure: `loading the addon ${signal ? `was ended by ${signal}` : 'failed'}: ${stderr?.trim().split('\n').at(-1) || message}` }
  }
}

function freeDisk(folder: string): number {
  for (let at = folder; ; at = join(at, '..')) {
    if (existsSync(at)) {
      const { bavail, bsize } = statfsSync(at)
      return bavail * bsize
    }
  }
}

/** Memory of the machine, or of the container where that allows less. */
function memoryHere(): { total: number; free: number } {
  const limit = process.constrainedMemory?.() || Infinity
  const total = Math.min(totalmem(), limit)
  return { total, free: Math.min(freemem(), total) }
}

function firstExisting(...files: string[]): string | undefined {
  return files.find((file) => existsSync(file))
}

function jupyter(): string | undefined {
  const own = join(finder.home(), 'jupyter', 'bin')
  return firstExisting(join(own, 'jupyter-lab'), join(own, 'jupyter-server'), ...(process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'jupyter')))
}

const GIB = 2 ** 30

function problemsOf(r: Omit<Report, 'problems'>, missing: string | undefined, failure: string | undefined): Problem[] {
  const problems: Problem[] = []
  const add = (fatal: boolean, what: string, remedy: string) => problems.push({ what, remedy, fatal })
  if (Number(r.node.split('.')[0]) < 20) add(true, `Node ${r.node} is too old`, 'install Node 20 or later')
  const named = ['FETTLE_LIBTORCH', 'LIBTORCH'].find((name) => process.env[name])
  if (missing) add(true, missing.replace(/; run: .*$/, ''), named ? `correct or unset ${named}` : 'npm run setup')
  else if (failure) add(true, failure.replace(/; run: .*$/, ''), 'npm run setup')
  if (!r.compiler && !r.addon) add(true, 'no C++ compiler', 'install g++ 11 or later, or clang 14')
  if (!r.python && !r.libtorch) add(true, 'no Python 3.9 or later to fetch libtorch with', 'install python3 and pip, or set FETTLE_LIBTORCH to a torch folder')
  if (r.addon && finder.hasNvidiaDriver() && !r.devices.some((d) => d.kind === 'cuda'))
    add(false, 'an NVIDIA driver is here, but this libtorch sees no GPU', 'use a libtorch with CUDA that fits the driver (set FETTLE_LIBTORCH)')
  if (r.cuda?.obstacle && r.devices.some((d) => d.kind === 'cuda')) add(false, `a GPU is here, but only the plain form of the blocks runs on it: ${r.cuda.obstacle.split('\n')[0]}`, 'npm run setup -- --with cuda, or set CUDA_HOME')
  if (r.memory.free < 2 * GIB) add(false, `only ${gib(r.memory.free)} of memory free`, 'end other programs; a 135M model trains in about 2 GiB')
  if (r.disk.free < GIB) add(false, `only ${gib(r.disk.free)} of disk free in ${r.disk.folder}`, 'free some space, or set FETTLE_HOME to another disk')
  return problems
}

/** Looks the machine over. Never loads the addon in this process, and works whatever is missing. */
export function inspect(): Report {
  let torch: Libtorch | undefined
  let missing: string | undefined
  try {
    torch = libtorch()
  } catch (error) {
    missing = (error as Error).message
  }
  const probed: Probe = torch ? probe() : {}
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  const report = {
    node: process.versions.node,
    compiler: compiler(),
    python: firstLine(process.env.PYTHON ?? 'python3', ['--version']),
    libtorch: torch,
    addon: probed.version !== undefined,
    devices: probed.devices ?? [],
    cuda: probed.cuda,
    cpu: { model, cores: availableParallelism(), features: cpuFeatures(), capability: probed.capability, blocks: probed.blocks },
    memory: memoryHere(),
    disk: { folder: finder.home(), free: freeDisk(finder.home()) },
    jupyter: jupyter(),
    browser: finder.findBrowser(),
  }
  return { ...report, problems: problemsOf(report, missing, probed.failure) }
}

/** Which kernels of ours would run on GPUs, and which addons for them are built. */
function cudaLine({ nvrtc, architectures, obstacle, graphs, nccl }: CudaKernels): string {
  const runs = obstacle === null ? `${cudaFiles.join(', ')}, compiled for ${[...new Set(architectures)].join(' and ')}` : `none run: ${obstacle.split(/[;\n]/)[0]}`
  const built = (name: string, is: boolean): string => `${name} ${is ? 'built' : 'not built'}`
  return `${runs}; ${nvrtc === null ? 'no NVRTC' : `NVRTC ${nvrtc}`}, ${built('graphs.node', graphs)}, ${built('nccl.node', nccl)}`
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`
}

/** The report as lines of text: what was found, then what is wrong and how to put it right. */
export function formatReport(r: Report): string {
  const rows: [string, string | undefined][] = [
    ['Node', r.node],
    ['compiler', r.compiler],
    ['Python', r.python],
    ['libtorch', r.libtorch && `${r.libtorch.version} from ${r.libtorch.source}: ${r.libtorch.folder}`],
    ['addon', r.addon ? 'built, loads' : undefined],
    ['CPU', `${r.cpu.model}, ${r.cpu.cores} cores${r.cpu.features.length ? `, ${r.cpu.features.join(' ')}` : ''}`],
    ['kernels', r.cpu.capability && `${r.cpu.capability} (libtorch's choice)`],
    ['blocks', r.cpu.blocks && `fused on the CPU in fp32 and bf16 (${r.cpu.blocks}); plain elsewhere`],
    ['memory', `${gib(r.memory.free)} free of ${gib(r.memory.total)}`],
    ...r.devices.filter((d) => d.kind === 'cuda').map((d): [string, string] => [d.device, `${gib(d.freeMemory)} free of ${gib(d.totalMemory)}`]),
    ['GPU', r.devices.some((d) => d.kind === 'cuda') ? 'usable' : 'none; training runs on the CPU'],
    ['CUDA', r.cuda && cudaLine(r.cuda)],
    ['disk', `${gib(r.disk.free)} free in ${r.disk.folder}`],
    ['Jupyter', r.jupyter ?? 'not set up (npm run lab does it)'],
    ['browser', r.browser ?? 'none (only the browser tests need one)'],
  ]
  const lines = rows.map(([name, value]) => `${name.padEnd(9)} ${value ?? 'not found'}`)
  if (r.problems.length === 0) return [...lines, '', 'Nothing is wrong.'].join('\n')
  return [...lines, '', ...r.problems.map((p) => `${p.fatal ? '✗' : '!'} ${p.what}\n  → ${p.remedy}`)].join('\n')
}
