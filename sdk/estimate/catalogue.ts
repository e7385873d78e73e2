import { unknownName } from '../plan/refuse'

/** A device as its maker describes it. */
export interface CatalogueDevice {
  /** How a person writes it. */
  readonly title: string
  /** Bytes. */
  readonly memory: number
  /** Dense matrix products, FLOP/s, in bf16 (fp16 where it has no bf16) and in fp32. */
  readonly bf16: number
  readonly fp32: number
  /** Bytes/s of its memory. */
  readonly bandwidth: number
  /** Bytes/s to another device of its machine, one way. */
  readonly link: number
  /** Devices of a machine. */
  readonly perNode: number
}

const GB = 1e9, TB = 1e12, TFLOPS = 1e12

/**
 * Figures of data sheets, dense and without sparsity; fp32 is that of products with TF32 off. A link is half of what a sheet gives for both
 * ways together; PCIe 4.0 x16 has 32 GB/s a way, 3.0 x16 16 GB/s.
 */
export const catalogue: Readonly<Record<string, CatalogueDevice>> = {
  // NVIDIA H100 Tensor Core GPU data sheet (SXM): 80 GB, 3.35 TB/s, 989 TFLOPS bf16, 67 TFLOPS fp32, NVLink 900 GB/s.
  'h100-80gb': { title: 'H100 80 GB (SXM)', memory: 80 * GB, bf16: 989 * TFLOPS, fp32: 67 * TFLOPS, bandwidth: 3.35 * TB, link: 450 * GB, perNode: 8 },
  // NVIDIA H200 Tensor Core GPU data sheet (SXM): 141 GB, 4.8 TB/s, 989 TFLOPS bf16, 67 TFLOPS fp32, NVLink 900 GB/s.
  'h200-141gb': { title: 'H200 141 GB (SXM)', memory: 141 * GB, bf16: 989 * TFLOPS, fp32: 67 * TFLOPS, bandwidth: 4.8 * TB, link: 450 * GB, perNode: 8 },
  // NVIDIA A100 Tensor Core GPU data sheet (SXM): 40 or 80 GB, 1.555 or 2.039 TB/s, 312 TFLOPS bf16, 19.5 TFLOPS fp32, NVLink 600 GB/s.
  'a100-40gb': { title: 'A100 40 GB (SXM)', memory: 40 * GB, bf16: 312 * TFLOPS, fp32: 19.5 * TFLOPS, bandwidth: 1.555 * TB, link: 300 * GB, perNode: 8 },
  'a100-80gb': { title: 'A100 80 GB (SXM)', memory: 80 * GB, bf16: 312 * TFLOPS, fp32: 19.5 * TFLOPS, bandwidth: 2.039 * TB, link: 300 * GB, perNode: 8 },
  // NVIDIA L4 data sheet: 24 GB, 300 GB/s, 121 TFLOPS bf16 dense (242 sparse), 30.3 TFLOPS fp32, PCIe 4.0 x16.
  'l4-24gb': { title: 'L4 24 GB', memory: 24 * GB, bf16: 121 * TFLOPS, fp32: 30.3 * TFLOPS, bandwidth: 300 * GB, link: 32 * GB, perNode: 8 },
  // NVIDIA L40S data sheet: 48 GB, 864 GB/s, 362 TFLOPS bf16 dense (733 sparse), 91.6 TFLOPS fp32, PCIe 4.0 x16.
  'l40s-48gb': { title: 'L40S 48 GB', memory: 48 * GB, bf16: 362 * TFLOPS, fp32: 91.6 * TFLOPS, bandwidth: 864 * GB, link: 32 * GB, perNode: 8 },
  // NVIDIA Ada GPU Architecture white paper, RTX 4090: 24 GB, 1,008 GB/s, 165.2 TFLOPS bf16 with fp32 sums, 82.6 TFLOPS fp32, PCIe 4.0 x16.
  'rtx4090-24gb': { title: 'GeForce RTX 4090 24 GB', memory: 24 * GB, bf16: 165.2 * TFLOPS, fp32: 82.6 * TFLOPS, bandwidth: 1.008 * TB, link: 32 * GB, perNode: 4 },
  // NVIDIA Ampere GA102 GPU Architecture white paper, RTX 3090: 24 GB, 936 GB/s, 71 TFLOPS bf16 with fp32 sums, 35.6 TFLOPS fp32, PCIe 4.0 x16.
  'rtx3090-24gb': { title: 'GeForce RTX 3090 24 GB', memory: 24 * GB, bf16: 71 * TFLOPS, fp32: 35.6 * TFLOPS, bandwidth: 936 * GB, link: 32 * GB, perNode: 4 },
  // NVIDIA T4 data sheet: 16 GB, 320 GB/s, 65 TFLOPS fp16 (no bf16 products), 8.1 TFLOPS fp32, PCIe 3.0 x16.
  't4-16gb': { title: 'T4 16 GB', memory: 16 * GB, bf16: 65 * TFLOPS, fp32: 8.1 * TFLOPS, bandwidth: 320 * GB, link: 16 * GB, perNode: 4 },
}

/** Assumed, not measured. */
export const assumed = {
  /** Share of the sheet's FLOP/s that products of a training step reach. */
  efficiency: 0.4,
  /** Share of the sheet's bandwidth, of memory and links. */
  bandwidth: 0.8,
  /** Bytes of a CUDA context with the kernels of libtorch and cuBLAS. */
  context: 1.2 * GB,
  /** Share of the memory that a rank may take: the driver keeps some, and the allocator cannot use every gap. */
  usable: 0.92,
  /** s a message, within a machine and between machines. */
  latency: { inside: 5e-6, between: 10e-6 },
  /** Bytes/s between machines: a link of 400 Gb/s for a machine's devices together, less its overhead. */
  network: 45 * GB,
} as const

/** @throws PlanError for a name that is not in it, with the nearest one */
export function deviceNamed(name: string): CatalogueDevice {
  const found = Object.hasOwn(catalogue, name.toLowerCase()) ? catalogue[name.toLowerCase()] : undefined
  if (found === undefined) throw unknownName('device', name, ['this', ...Object.keys(catalogue)])
  return found
}
