import type { Weights } from './weights'

/**
 * What a checkpoint calls a weight: files name it with or without what the causal-LM class puts before its body
 * (`NameMap.body`). `undefined` when it is there under neither name.
 */
export function fileNameOf(weights: Pick<Weights, 'has'>, body: string, name: string): string | undefined {
  return [name, name.startsWith(body) ? name.slice(body.length) : `${body}${name}`].find((candidate) => weights.has(candidate))
}
