import type { Device } from 'fettle-native'
import type { ModelProgress } from '../models/hub/progress'
import { percent } from '../views/format'
import type { Flag } from './flags'
import { lazy } from './lazy'
import { StatusLine, type Terminal } from './terminal'

/** Flags of commands that run a model in this process. */
export const modelFlags: readonly Flag[] = [
  { name: 'dtype', type: 'text', value: 'fp32|bf16', help: 'number type to compute in (fp32)', rule: 'call.dtype' },
  { name: 'device', type: 'text', value: 'auto|cpu|cuda', help: 'where to compute (auto: a GPU when there is one)', rule: 'device' },
  { name: 'blocks', type: 'text', value: 'auto|plain', help: 'auto: fused blocks where there are; plain: ATen operators', rule: 'blocks' },
  { name: 'threads', type: 'number', value: 'N', help: 'CPU threads (all cores)', rule: 'threads' },
]

/** The model's folder or file on this machine, fetched when it has to be, with its progress shown. */
export async function localModel(name: string, terminal: Terminal): Promise<string> {
  const line = new StatusLine(terminal)
  const onProgress = ({ stage, message, received, total }: ModelProgress): void => line.show(stage, `${message}${total ? ` ${percent(received / total)}` : ''}`, message)
  try { return await lazy.resolve().resolveModel(name, { onProgress }) } finally { line.clear() }
}

/** Sets the threads, and chooses the device that `--device` asks for. */
export function prepareDevice(values: Readonly<Record<string, unknown>>): Device {
  if (values.threads !== undefined) lazy.native().setThreads(values.threads as number)
  return lazy.device().chooseDevice((values.device ?? 'auto') as 'auto' | 'cpu' | 'cuda', { gpu: '--device cuda', instead: '--device cpu, or fettle doctor' })
}
