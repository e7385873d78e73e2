import { defaultPort } from '../master'
import type { Job } from './job'
import { toYaml, type Plain } from './yaml'

/** What a job on Kubernetes has of its own. */
export interface PodOptions {
  /** Image with Node, Fettle and libtorch. */
  readonly image: string
  /** Persistent volume claim that is mounted at `/workspace`, the folder that the run starts in. */
  readonly claim?: string
  /** Memory of a pod: `64Gi`. */
  readonly memory?: string
}

/** Seconds that a pod has after SIGTERM: to end its step and to save. */
const graceSeconds = 120

/** Words of a pod: one launcher, which starts the pod's ranks. */
export function podCommand(job: Job): string[] { return [...job.program, 'launch', '--', 'run', job.file, ...job.more] }

/** What a pod may take: GPUs and cores of its ranks. */
export function podResources(job: Job, { memory }: PodOptions): { [name: string]: Plain | undefined } {
  return {
    cpu: job.cpusPerRank === null ? undefined : String(job.cpusPerRank * job.ranksPerNode), memory,
    'nvidia.com/gpu': job.gpus ? String(job.ranksPerNode) : undefined,
  }
}

/** The pod of a node. NCCL and Gloo move data between ranks of a machine through /dev/shm, which has 64 MiB by default. */
export function podSpec(job: Job, options: PodOptions, container: { readonly [name: string]: Plain | undefined }): { readonly [name: string]: Plain | undefined } {
  const { image, claim } = options, limits = podResources(job, options)
  return {
    restartPolicy: 'Never', terminationGracePeriodSeconds: graceSeconds, automountServiceAccountToken: false,
    containers: [{
      name: 'fettle', image, command: podCommand(job), workingDir: claim === undefined ? undefined : '/workspace', ...container,
      resources: Object.values(limits).some((limit) => limit !== undefined) ? { limits } : undefined,
      volumeMounts: [{ name: 'shared-memory', mountPath: '/dev/shm' }, ...(claim === undefined ? [] : [{ name: 'workspace', mountPath: '/workspace' }])],
    }],
    volumes: [{ name: 'shared-memory', emptyDir: { medium: 'Memory' } }, ...(claim === undefined ? [] : [{ name: 'workspace', persistentVolumeClaim: { claimName: claim } }])],
  }
}

/**
 * An Indexed Job with a pod a node; a headless Service, which gives the pods names; and a NetworkPolicy that lets only the job's
 * own pods reach them, because the store asks nobody who he is.
 */
export function kubernetesManifest(job: Job, options: PodOptions): string {
  const pods = { 'batch.kubernetes.io/job-name': job.name }, metadata = { name: job.name }
  const environment: [string, string][] = [
    ['FETTLE_NODES', String(job.nodes)], ['FETTLE_RANKS_PER_NODE', String(job.ranksPerNode)],
    ['FETTLE_MASTER_ADDR', `${job.name}-0.${job.name}`], ['FETTLE_MASTER_PORT', String(defaultPort)],
  ]
  const spec = podSpec(job, options, { env: environment.map(([name, value]) => ({ name, value })), ports: [{ containerPort: defaultPort }] })
  const documents: Plain[] = [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector: pods } },
    { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata, spec: {
      podSelector: { matchLabels: pods }, policyTypes: ['Ingress'], ingress: [{ from: [{ podSelector: { matchLabels: pods } }] }] } },
    // A rank alone cannot be started again: where one fails the job does, and is begun again from its checkpoint.
    { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: {
      completionMode: 'Indexed', completions: job.nodes, parallelism: job.nodes, backoffLimit: 0, template: { spec: { subdomain: job.name, ...spec } } } },
  ]
  return documents.map((document) => toYaml(document)).join('---\n')
}
