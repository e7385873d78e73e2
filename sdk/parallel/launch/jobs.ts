/** Ready files for clusters. */
export { readJob, type Job, type JobWishes } from './jobs/job'
export { kubernetesManifest, type PodOptions } from './jobs/kubernetes'
export { pytorchJobManifest, trainJobManifest } from './jobs/kubeflow'
export { slurmScript, type SlurmOptions } from './jobs/slurm'
export { torchrunLine } from './jobs/torchrun'
