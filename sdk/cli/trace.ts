import { PlanError } from '../errors'
import { parseMesh } from '../parallel/mesh/parse'
import { conflict } from '../plan/refuse'
import type { Command } from './command'
import { exitCodes } from './exit'
import { takePositionals, type Parsed } from './flags'
import { lazy } from './lazy'
import { localModel, modelFlags, prepareDevice } from './model'
import type { Terminal } from './terminal'

export const traceCommand: Command = {
  name: 'trace',
  summary: "write a model's logits, loss, gradients or trained weights for a batch, to compare with any reference",
  usage: ['trace MODEL --inputs in.safetensors --out out.safetensors [--adapter DIR] [--grads all] [--steps N --lr X --weight-decay W]'],
  flags: [
    { name: 'inputs', type: 'text', value: 'FILE', help: 'safetensors with input_ids [B,T], perhaps attention_mask, position_ids, labels' },
    { name: 'out', type: 'text', value: 'FILE', help: 'safetensors to write: logits, loss, grad.NAME, losses, after.NAME' },
    { name: 'adapter', type: 'text', value: 'DIR', help: 'an adapter (LoRA or prefix), which then is what trains' },
    { name: 'merge', type: 'flag', help: 'merge the adapter before the trace' },
    { name: 'grads', type: 'text', value: 'all|NAME,NAME', help: 'gradients to write' },
    { name: 'steps', type: 'number', value: 'N', help: 'AdamW steps on the batch (betas 0.9 and 0.999, eps 1e-8)', rule: 'call.steps' },
    { name: 'lr', type: 'number', value: 'X', help: 'learning rate of the steps (1e-3)', rule: 'optimizer.learningRate', aliases: ['learning-rate'] },
    { name: 'weight-decay', type: 'number', value: 'X', help: 'weight decay of the steps (0)', rule: 'optimizer.weightDecay' },
    { name: 'mesh', type: 'text', value: 'tp=2,pp=2', help: 'run on so many rank processes and gather what they find: dp=2, sharding=2:stage3, pp=2:virtual2, tp=2' },
    ...modelFlags.filter(({ name }) => name !== 'blocks'),
    { name: 'blocks', type: 'text', value: 'plain|auto', help: 'which form of the blocks to trace: the reference, or what training runs (plain)', rule: 'blocks' },
  ],
  run: traceModel,
}

/** Flags that would do nothing, as they qualify one that is not there. */
function refuseIdle(values: Parsed['values']): void {
  for (const [flag, other, example] of [['lr', 'steps', '3'], ['weight-decay', 'steps', '3'], ['merge', 'adapter', 'DIR']]) {
    if (values[flag] === undefined || values[flag] === false || values[other] !== undefined) continue
    throw conflict([flag, other], `--${flag} has no effect without --${other}`, `--${other} ${example}, or no --${flag}`)
  }
}

async function traceModel(parsed: Parsed, terminal: Terminal): Promise<number> {
  const [name] = takePositionals(parsed, ['MODEL'], 'trace')
  const { values } = parsed
  const need = (flag: string): string => {
    if (values[flag] === undefined) throw new PlanError('cli.missing', `expected --${flag} for fettle trace, got nothing; try --${flag} ${flag}.safetensors`, { flag })
    return values[flag] as string
  }
  const inputs = need('inputs'), out = need('out')
  refuseIdle(values)
  const model = await localModel(name, terminal)
  const device = prepareDevice(values)
  if (values.mesh !== undefined) return traceMesh(parsed, terminal, { model, inputs, out, device })
  const { trace } = lazy.trace(), { readSafetensors, writeSafetensors } = lazy.weights(), { scope } = lazy.native()
  const { unsupervised, ...written } = scope(() => {
    const given = readSafetensors(inputs)
    const results = trace({
      model, inputs: given, device, adapter: values.adapter as string | undefined, merge: values.merge === true,
      blocks: values.blocks === 'auto' ? (parameters) => lazy.blocks().chooseBlocks({ device, dtype: parameters.dtype, blocks: 'auto' }) : undefined,
      dtype: values.dtype as 'fp32' | 'bf16' | undefined, grads: gradsOf(values),
      steps: values.steps as number | undefined, learningRate: values.lr as number | undefined, weightDecay: (values['weight-decay'] as number | undefined) ?? 0,
    })
    writeSafetensors(out, results)
    const loss = results.get('loss')
    return { out, tensors: [...results].map(([key, { shape }]) => ({ name: key, shape })), loss: loss ? loss.item() : null, unsupervised: !loss && given.has('labels') }
  })
  if (unsupervised) terminal.err('note: the labels supervise no token (all are −100 after the first position), so there is no loss\n')
  if (values.json) terminal.out(`${JSON.stringify(written)}\n`)
  else terminal.err(`${out}: ${written.tensors.length} tensors${written.loss === null ? '' : `, loss ${written.loss}`}\n`)
  return exitCodes.ok
}

function gradsOf(values: Parsed['values']): 'all' | string[] | undefined {
  const grads = values.grads as string | undefined
  return grads === undefined || grads === 'all' ? grads : grads.split(',').map((part) => part.trim()).filter((part) => part !== '')
}

/** The same on rank processes. */
async function traceMesh({ values }: Parsed, terminal: Terminal, { model, inputs, out, device }: { model: string; inputs: string; out: string; device: string }): Promise<number> {
  const tensors = await lazy.traceMesh().traceOnMesh(parseMesh(values.mesh as string), {
    inputs, blocks: values.blocks === 'auto' ? 'auto' : 'plain',
    options: {
      model, device, adapter: values.adapter as string | undefined, merge: values.merge === true, dtype: values.dtype as 'fp32' | 'bf16' | undefined, grads: gradsOf(values),
      steps: values.steps as number | undefined, learningRate: values.lr as number | undefined, weightDecay: (values['weight-decay'] as number | undefined) ?? 0,
    },
  }, out)
  const loss = lazy.native().scope(() => lazy.weights().readSafetensors(out).get('loss')?.item() ?? null)
  if (values.json) terminal.out(`${JSON.stringify({ out, tensors, loss })}\n`)
  else terminal.err(`${out}: ${tensors.length} tensors of ${values.mesh as string}${loss === null ? '' : `, loss ${loss}`}\n`)
  return exitCodes.ok
}
