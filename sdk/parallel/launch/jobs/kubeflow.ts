import type { Job } from './job'
import { podCommand, podResources, podSpec, type PodOptions } from './kubernetes'
import { toYaml } from './yaml'

/** A TrainJob of Kubeflow Trainer, by its runtime `torch-distributed`, whose PET_* variables `fettle launch` reads. */
export function trainJobManifest(job: Job, options: PodOptions): string {
  const limits = podResources(job, options)
  const { volumes } = podSpec(job, options, {})
  return toYaml({
    apiVersion: 'trainer.kubeflow.org/v1alpha1', kind: 'TrainJob', metadata: { name: job.name },
    spec: {
      runtimeRef: { name: 'torch-distributed' },
      trainer: {
        image: options.image, command: podCommand(job), numNodes: job.nodes, numProcPerNode: job.ranksPerNode,
        // Both: Trainer 2.0 takes numProcPerNode for 1 where there are limits without requests.
        resourcesPerNode: Object.values(limits).some((limit) => limit !== undefined) ? { requests: limits, limits } : undefined,
      },
      podSpecOverrides: options.claim === undefined ? undefined : [{
        targetJobs: [{ name: 'node' }], volumes,
        containers: [{ name: 'node', volumeMounts: [{ name: 'shared-memory', mountPath: '/dev/shm' }, { name: 'workspace', mountPath: '/workspace' }] }],
      }],
    },
  })
}

/** A PyTorchJob of the older Training Operator (v1.7 and later): a master and workers, each of them a node. */
export function pytorchJobManifest(job: Job, options: PodOptions): string {
  // The operator looks for its container by this name.
  const { restartPolicy, ...spec } = podSpec(job, options, { name: 'pytorch' })
  const replicas = (count: number) => ({ replicas: count, restartPolicy, template: { spec } })
  return toYaml({
    apiVersion: 'kubeflow.org/v1', kind: 'PyTorchJob', metadata: { name: job.name },
    spec: { nprocPerNode: String(job.ranksPerNode), pytorchReplicaSpecs: { Master: replicas(1), Worker: job.nodes === 1 ? undefined : replicas(job.nodes - 1) } },
  })
}
