import type { MappedFile, Tensor } from 'fettle-native'
import { ModelError } from '../../../errors'
import { native } from '../native'
import { nearby } from '../safetensors-read'
import { pickledTensors } from './file'
import type { PickledTensor } from './tensors'

/** A pickled state dict (`pytorch_model.bin`, `.pdparams`) whose tensors are read one by one. It is walked as data: nothing in it runs. */
export class PickleFile {
  readonly tensors: ReadonlyMap<string, PickledTensor>
  private mapping: MappedFile | undefined

  /** @throws ModelError `model.pickle` */
  constructor(readonly path: string) {
    this.tensors = pickledTensors(path)
  }

  /** The tensor as stored. It shares the mapped file where its values lie there in order, and is a copy elsewhere. */
  read(name: string): Tensor {
    const tensor = this.tensors.get(name)
    if (!tensor) throw new ModelError('model.tensor', `${this.path}: has no tensor "${name}"; it has ${nearby(name, this.tensors.keys())}`, { path: this.path, tensor: name })
    return tensor.read(() => (this.mapping ??= native().mapFile(this.path)))
  }

  /** Lets go of the mapping; tensors that were read keep it alive as long as they need it. */
  close(): void {
    this.mapping?.close()
    this.mapping = undefined
  }
}

/**
 * All tensors of a pickled state dict. Call inside a scope.
 * @throws ModelError `model.pickle`
 */
export function readPickled(path: string): Map<string, Tensor> {
  const file = new PickleFile(path)
  try { return new Map([...file.tensors.keys()].map((name) => [name, file.read(name)])) } finally { file.close() }
}
