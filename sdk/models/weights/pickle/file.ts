import { zipEntries } from '../../zip'
import { Bytes, broken } from './bytes'
import { readPickle } from './machine'
import { sizeOf, tensorNames } from './names'
import { arrayTensor, viewTensor, type PickledTensor } from './tensors'
import { NumpyArray, Storage, StorageType, TensorView, type Dictionary } from './values'

/** Where something lies in a file, in bytes from its start. */
interface Stored { readonly begin: number; readonly bytes: number }

/** Where the storages of a file lie, by their keys. */
type Places = ReadonlyMap<string, Stored>

/** What a pickled file holds, without any weight being read: its value, and where storages lie. */
interface Content { readonly value: unknown; readonly places: Places }

const zipMark = Buffer.from('PK\x03\x04', 'latin1')
/** torch.save before version 1.6 began with this number. */
const legacyNumber = 0x1950a86a20f9469cfc6cn

/**
 * Tensors of a pickled state dict by name: torch.save of either format, or a dict of numpy arrays as paddle.save writes it.
 * The file is walked as data and nothing in it runs.
 * @throws ModelError `model.pickle`: names the file, the place and what it has there
 */
export function pickledTensors(path: string): ReadonlyMap<string, PickledTensor> {
  const { value, places } = read(path)
  const tensors = new Map<string, PickledTensor>()
  for (const [name, entry] of stateDict(path, value)) {
    const tensor = tensorOf(path, String(name), entry, places)
    if (tensor !== null) tensors.set(String(name), tensor)
  }
  if (tensors.size === 0) throw broken(path, 'holds no tensor by a name', {}, "give the file of a model's state_dict()")
  return tensors
}

function read(path: string): Content {
  const start = Bytes.over(path, 0, undefined, (bytes) => Buffer.from(bytes.take(Math.min(4, bytes.end))))
  if (start.equals(zipMark)) return readZip(path)
  if (start.toString('latin1') === 'vers') throw broken(path, 'is a Git LFS pointer, not the weights', {}, 'run `git lfs pull` in its folder')
  return Bytes.over(path, 0, undefined, (bytes) => {
    const storages = new Map<string, Storage>()
    const value = readPickle(bytes, tensorNames((id) => storageOf(id, storages)))
    return value === legacyNumber ? readLegacy(bytes, storages) : { value, places: new Map<string, Stored>() }
  })
}

function readZip(path: string): Content {
  const files = storedFiles(path)
  const pickle = [...files.keys()].find((name) => name === 'data.pkl' || name.endsWith('/data.pkl'))
  if (pickle === undefined) throw broken(path, 'is a zip archive without data.pkl', {}, 'give a file that torch.save wrote')
  const prefix = pickle.slice(0, -'data.pkl'.length)
  const order = files.get(`${prefix}byteorder`)
  if (order !== undefined && Bytes.over(path, order.begin, order.begin + order.bytes, (bytes) => bytes.take(order.bytes).toString('latin1')).trim() === 'big') {
    throw broken(path, 'was written on a big-endian machine', {}, 'save the model anew on a little-endian one')
  }
  const { begin, bytes } = files.get(pickle) as Stored
  const value = Bytes.over(path, begin, begin + bytes, (source) => readPickle(source, tensorNames((id) => storageOf(id, new Map()))))
  const data = `${prefix}data/`
  return { value, places: new Map([...files].filter(([name]) => name.startsWith(data)).map(([name, place]) => [name.slice(data.length), place])) }
}

/** Files of an archive that are stored as they are, as torch.save writes them. */
function storedFiles(path: string): Map<string, Stored> {
  const entries = zipEntries(path, (seen, details) => broken(path, seen, details))
  return new Map([...entries].map(([name, { method, begin, packed, size }]): [string, Stored] => {
    if (method !== 0 || packed !== size) throw broken(path, `holds ${name} compressed, as torch.save never does`, { name }, 'save the model anew')
    return [name, { begin, bytes: size }]
  }))
}

/** After the number: a protocol, what wrote it, the value, the keys of storages, and each storage behind its length. */
function readLegacy(bytes: Bytes, storages: Map<string, Storage>): Content {
  const names = tensorNames((id) => storageOf(id, storages))
  const protocol = readPickle(bytes, names)
  if (protocol !== 1001) throw broken(bytes.path, `has version ${String(protocol)} of torch's old format, 1001 is read`, {}, 'save the model anew')
  const system = readPickle(bytes, names)
  if (system instanceof Map && system.get('little_endian') === false) throw broken(bytes.path, 'was written on a big-endian machine', {}, 'save the model anew on a little-endian one')
  const value = readPickle(bytes, names), keys = readPickle(bytes, names)
  const places = new Map<string, Stored>()
  for (const key of Array.isArray(keys) ? keys as unknown[] : []) {
    const elements = bytes.u64(), storage = storages.get(String(key))
    if (storage === undefined) throw broken(bytes.path, `holds storage ${String(key)}, which no tensor names`)
    const length = elements * sizeOf(storage.dtype ?? 'uint8')
    places.set(String(key), { begin: bytes.skip(length), bytes: length })
  }
  return { value, places }
}

/** `('storage', type, key, location, elements)`, and in the old format a view, which was never used for weights. */
function storageOf(id: unknown, known: Map<string, Storage>): Storage | undefined {
  if (!Array.isArray(id) || id[0] !== 'storage' || !(id[1] instanceof StorageType) || typeof id[4] !== 'number' || (id[5] ?? null) !== null) return undefined
  const [, type, key, , elements] = id as [string, StorageType, unknown, unknown, number]
  const storage = known.get(String(key)) ?? new Storage(String(key), type.dtype, elements)
  known.set(storage.key, storage)
  return storage
}

/** The dictionary of tensors itself, or the one that trainers put round it. */
function stateDict(path: string, value: unknown): Dictionary {
  if (!(value instanceof Map)) throw broken(path, 'holds no dictionary of tensors', {}, "give the file of a model's state_dict()")
  const inner = ['state_dict', 'model', 'module'].map((name) => value.get(name)).find((entry) => entry instanceof Map)
  return (inner as Dictionary | undefined) ?? value
}

function tensorOf(path: string, name: string, entry: unknown, places: Places): PickledTensor | null {
  if (entry instanceof TensorView) {
    const place = places.get(entry.storage.key)
    if (place === undefined) throw broken(path, `lacks storage ${entry.storage.key} of tensor "${name}"`, { tensor: name })
    return viewTensor(path, name, entry, place.begin, place.bytes)
  }
  if (entry instanceof NumpyArray) return arrayTensor(path, name, entry)
  // paddle.save writes a tensor as (its own name, array) where it stands inside other values.
  if (Array.isArray(entry) && entry.length === 2 && entry[1] instanceof NumpyArray) return arrayTensor(path, name, entry[1])
  return null
}
