import { cores, noGrad, setThreads, tuneAllocator, type Device } from 'fettle-native'
import { loadAdapter } from '../adapters/adapter'
import type { ServePlan } from '../chat/serve-plan'
import { rowEncoder } from '../data/encode'
import { EnvironmentError, PlanError, serializeError } from '../errors'
import { chooseBlocks } from '../models/blocks/fused'
import { Decoder } from '../models/decoder'
import { chooseDevice } from '../models/device'
import { resolveModel } from '../models/hub/resolve'
import { loadParameters } from '../models/load'
import { openWeights, type Weights } from '../models/weights'
import { defaultPlan } from '../plan/defaults'
import { loadTokenizer } from '../tokenizers'
import type { Ask, Channel } from './channel'
import { converse, type Talker } from './conversation'
import { availableMemory } from './memory'

/**
 * The life of a worker that only answers: reads a model, with an adapter or without, and holds conversations until it is
 * closed. Returns the process's exit code; a failure has then been told as a `failed` event.
 */
export async function serveModel(serve: ServePlan, channel: Channel): Promise<number> {
  try {
    const talker = await Promise.race([openTalker(serve, channel), channel.leaving.then(() => null)])
    if (talker === null) return 0
    channel.send({ kind: 'served' })
    for (let ask = await channel.next(); ask !== null; ask = await channel.next()) {
      await reply(ask, talker, channel)
      if (ask.command.name === 'close') break
    }
    return 0
  } catch (error) {
    channel.send({ kind: 'event', event: { type: 'failed', time: Date.now(), error: serializeError(error) } })
    return 1
  } finally {
    await channel.flush()
  }
}

async function reply({ id, command }: Ask, talker: Talker, channel: Channel): Promise<void> {
  try {
    if (command.name !== 'chat' && command.name !== 'close') {
      throw new PlanError('chat.command', `expected chat, cancel or close for a worker that serves a model, got ${command.name}`, { command: command.name })
    }
    const value = command.name === 'close' ? undefined : await converse(talker, command, {
      onText: (text) => channel.send({ kind: 'token', id, row: 0, text }),
      isOver: () => channel.interrupted !== null || channel.isCancelled(id),
    })
    channel.send({ kind: 'reply', id, value })
  } catch (error) {
    channel.send({ kind: 'reply', id, error: serializeError(error) })
  }
}

async function openTalker(serve: ServePlan, channel: Channel): Promise<Talker> {
  setThreads(serve.threads ?? cores())
  tuneAllocator()
  const device = chooseDevice(serve.device, { gpu: "device 'cuda'", instead: "device: 'cpu', or npm run doctor" })
  const path = await resolveModel(serve.model, { onProgress: ({ stage, received, total }) => channel.send({ kind: 'progress', stage: `model: ${stage}`, done: received, total: total ?? null }) })
  channel.send({ kind: 'progress', stage: 'model: read weights', done: 0, total: null })
  await new Promise((resolve) => setImmediate(resolve)) // the line above leaves before the reading begins
  const tokenizer = loadTokenizer(path), decoder = openDecoder(path, serve, device)
  const { data } = defaultPlan(serve.model)
  return { decoder, tokenizer, encoder: rowEncoder(tokenizer, { ...data, template: serve.template, system: serve.system }), template: serve.template }
}

function openDecoder(path: string, { adapter, precision, blocks }: ServePlan, device: Device): Decoder {
  const weights = openWeights(path)
  try {
    checkRoom(weights, precision === 'bf16' ? 2 : 4, availableMemory(device))
    const parameters = noGrad(() => loadParameters(weights, { dtype: precision === 'bf16' ? 'bfloat16' : 'float32', device, train: false }))
    if (adapter !== null) loadAdapter(parameters, adapter)
    return new Decoder(parameters, chooseBlocks({ device, dtype: parameters.dtype, blocks }))
  } finally {
    weights.close()
  }
}

/**
 * Found out now rather than by the system's killer of processes, which might take the training run.
 * @param free bytes that there are
 * @throws EnvironmentError `chat.memory`
 */
export function checkRoom(weights: Weights, bytesPerValue: number, free: number): void {
  const values = weights.names().reduce((sum, name) => sum + weights.info(name).shape.reduce((a, b) => a * b, 1), 0)
  const need = values * bytesPerValue
  if (need <= free) return
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`
  throw new EnvironmentError('chat.memory', `${weights.path} needs ${gib(need)} of memory to answer, ${gib(free)} are free; leave the base out with chat(target, { sides: ['tuned'] }), compute in bf16 with { precision: 'bf16' }, or close other runs`, { model: weights.path, need, free })
}
