import { PlanError } from '../errors'
import { kubernetesManifest, pytorchJobManifest, readJob, slurmScript, torchrunLine, trainJobManifest, type Job, type PodOptions } from '../parallel/launch/jobs'
import { splitWords } from '../parallel/launch/shell'
import { conflict, refusal, unknownName } from '../plan/refuse'
import { whole, type Rule } from '../plan/rules'
import type { Command } from './command'
import { exitCodes } from './exit'
import type { Flag, Parsed } from './flags'

type Values = Parsed['values']

/** A cluster: the flags that are its own, and its file. */
interface Cluster {
  readonly flags: readonly string[]
  readonly make: (job: Job, values: Values) => string
}

const clusters: Record<string, Cluster> = {
  slurm: {
    flags: ['time', 'partition', 'account', 'save-seconds'],
    make: (job, { time, partition, account, 'save-seconds': saveSeconds = 120 }) =>
      slurmScript(job, { time: time as string, partition: partition as string, account: account as string, saveSeconds: saveSeconds as number }),
  },
  kubernetes: { flags: ['image', 'claim', 'memory'], make: (job, values) => kubernetesManifest(job, podOptions(values)) },
  trainjob: { flags: ['image', 'claim', 'memory'], make: (job, values) => trainJobManifest(job, podOptions(values)) },
  pytorchjob: { flags: ['image', 'claim', 'memory'], make: (job, values) => pytorchJobManifest(job, podOptions(values)) },
  torchrun: { flags: ['master'], make: (job, values) => torchrunLine(job, values.master as string | undefined) },
}

function word(expected: string, example: string): Rule {
  return { expected, example, ok: (value) => typeof value === 'string' && /^[\w.:/@+-]+$/.test(value) }
}

/** Where npm puts it in the folder that the job starts in. */
const localProgram = 'node_modules/.bin/fettle'

const flags: readonly Flag[] = [
  { name: 'nodes', type: 'number', value: 'N', help: 'machines (1)', rule: whole(1, 2, 65536) },
  { name: 'ranks-per-node', type: 'number', value: 'K', help: 'ranks on each (1)', rule: whole(1, 8, 1024) },
  { name: 'gpus', type: 'flag', help: 'a GPU for each rank' },
  { name: 'cpus-per-rank', type: 'number', value: 'N', help: 'cores for each rank', rule: whole(1, 8, 4096) },
  { name: 'name', type: 'text', value: 'NAME', help: "of the job; the argument file's when left out" },
  { name: 'program', type: 'text', value: 'COMMAND', help: `Fettle there (${localProgram}; npx keeps signals to itself, so that a run would not save)` },
  { name: 'time', type: 'text', value: 'H:MM:SS', help: 'slurm: longest time', rule: word('a time of Slurm', '4:00:00') },
  { name: 'partition', type: 'text', help: 'slurm: where', rule: word('a name', 'gpu') },
  { name: 'account', type: 'text', help: 'slurm: on whose budget', rule: word('a name', 'lab') },
  { name: 'save-seconds', type: 'number', value: 'N', help: 'slurm: how long before the end of its time a run saves and is queued again (120)', rule: whole(1, 120, 65535) },
  { name: 'image', type: 'text', help: 'kubernetes, trainjob, pytorchjob: image with Node, Fettle and libtorch', rule: word('the name of an image', 'site/fettle:0.1') },
  { name: 'claim', type: 'text', value: 'NAME', help: 'the same: volume claim, mounted at /workspace', rule: word('the name of a volume claim', 'workspace') },
  { name: 'memory', type: 'text', value: 'SIZE', help: 'the same: memory of a pod', rule: word('an amount of memory', '64Gi') },
  { name: 'master', type: 'text', value: 'HOST', help: 'torchrun: where its agents meet', rule: word('a host', 'node1') },
]

export const jobCommand: Command = {
  name: 'job',
  summary: 'a ready file for a cluster: Slurm, Kubernetes, Kubeflow, torchrun',
  usage: [`job ${Object.keys(clusters).join('|')} ARGS.json --nodes N --ranks-per-node K [-- --name value …]`],
  flags,
  async run({ positionals: [kind, file, ...more], values }, terminal) {
    if (kind === undefined || file === undefined) throw new PlanError('cli.missing', `expected ${kind === undefined ? 'a cluster' : 'ARGS.json'} for fettle job, got nothing; try fettle help job`)
    const cluster = Object.hasOwn(clusters, kind) ? clusters[kind] : undefined
    if (!cluster) throw unknownName('cluster', kind, Object.keys(clusters))
    const others = Object.values(clusters).flatMap((each) => each.flags).filter((name) => !cluster.flags.includes(name))
    const idle = others.find((name) => name in values)
    if (idle !== undefined) throw conflict([idle], `--${idle} has no effect on ${kind}`, `without --${idle}`)
    const job = readJob(file, {
      name: values.name as string | undefined, more, nodes: values.nodes as number ?? 1, ranksPerNode: values['ranks-per-node'] as number ?? 1,
      gpus: values.gpus === true, cpusPerRank: values['cpus-per-rank'] as number ?? null, program: splitWords(values.program as string ?? localProgram, '--program'),
    })
    terminal.out(cluster.make(job, values))
    return exitCodes.ok
  },
}

function podOptions({ image, claim, memory }: Values): PodOptions {
  if (image === undefined) throw refusal('--image', 'an image with Node, Fettle and libtorch', undefined, '--image site/fettle:0.1')
  return { image: image as string, claim: claim as string | undefined, memory: memory as string | undefined }
}
