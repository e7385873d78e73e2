import { native, nccl } from './library'
import type { Tensor } from './tensor'

/** Where the ranks of a run find each other, and a small table of texts that they share: c10d's store. */
export class Store {
  private constructor(/** @internal */ readonly id: number, /** Port that a TCP store listens at; 0 for a file. */ readonly port: number) {}

  /** A store in a file that all ranks can reach; nothing listens. @param timeout ms that `get` waits */
  static file(path: string, ranks: number, timeout: number): Store { return new Store(native().openFileStore(path, ranks, timeout), 0) }

  /**
   * A store that one of the ranks serves: for 127.0.0.1 on the loopback alone, else at all addresses of its machine. It asks
   * for no password: for private networks only.
   * @param port 0: any free one
   */
  static tcp(host: string, port: number, ranks: number, serves: boolean, timeout: number): Store {
    const [id, chosen] = native().openTcpStore(host, port, ranks, serves, timeout)
    return new Store(id, chosen)
  }

  set(key: string, value: string): void { native().storeSet(this.id, key, value) }
  /** Waits until there is a value. @throws NativeError `native.torch` after the store's timeout */
  get(key: string): string { return native().storeGet(this.id, key) }
  has(key: string): boolean { return native().storeHas(this.id, key) }
  /** Adds to a number, 0 at first; the sum. */
  add(key: string, by: number): number { return native().storeAdd(this.id, key, by) }
  close(): void { native().closeStore(this.id) }
}

/**
 * Shows in a file how far this process is, for a supervisor: in the first eight bytes (unsigned, little-endian) how many
 * collectives it has begun, in the next eight 1 while it waits for its peers, else 0.
 */
export function showProgress(path: string): void { native().showProgress(path) }

/** How values of the ranks become one. */
export type Reduction = 'sum' | 'max' | 'min'

/** A collective on its way. Its tensors are not to be touched before `wait()`. */
export interface Work { wait(): void }

const done: Work = { wait: () => undefined }

/** Looks on at collectives: each is run by it, and so is the waiting for one that runs beside others. */
export type CollectiveWatch = <T>(name: string, run: () => T) => T

let watch: CollectiveWatch | null = null

/** From now on collectives of this process go through `next`; `null`: nobody looks on. */
export function watchCollectives(next: CollectiveWatch | null): void { watch = next }

/**
 * Ranks that reduce, gather and send among themselves (c10d over Gloo, or over NCCL on GPUs). All members call the same collectives in the same
 * order. Tensors are contiguous. With `later` a collective runs beside what follows until `wait()`.
 */
export class ProcessGroup {
  private constructor(private readonly id: number, readonly rank: number, readonly size: number) {}

  /**
   * All members call it; it waits for them.
   * @param name its own among the groups of the store
   * @param rank place in the group
   * @param timeout ms after which a collective without its peers fails
   * @param address of this machine, that peers connect to; nothing else listens
   */
  static open(store: Store, name: string, rank: number, size: number, timeout: number, address = '127.0.0.1'): ProcessGroup {
    return new ProcessGroup(native().openGroup(store.id, name, rank, size, timeout, address), rank, size)
  }

  /** The same over NCCL, for tensors on this process's GPU; `null` where NCCL's addon is not there. */
  static openNccl(store: Store, name: string, rank: number, size: number, timeout: number): ProcessGroup | null {
    const addon = nccl()
    return addon && new ProcessGroup(native().adoptGroup(addon.openGroup(native().storeExternal(store.id), name, rank, size, timeout)), rank, size)
  }

  /** Every rank's tensor becomes the reduction of all, *in place*. */
  allReduce(tensor: Tensor, reduction: Reduction = 'sum', later = false): Work {
    return begun('allReduce', () => native().allReduce(this.id, tensor.handle, reduction, later))
  }

  /** `out` becomes every rank's `own`, one after the other. */
  allGather(out: Tensor, own: Tensor, later = false): Work { return begun('allGather', () => native().allGather(this.id, out.handle, own.handle, later)) }

  /** Piece r of `tensor` (equal pieces of its first dimension) goes to rank r; piece r of `out` comes from there. */
  allToAll(out: Tensor, tensor: Tensor, later = false): Work { return begun('allToAll', () => native().allToAll(this.id, out.handle, tensor.handle, later)) }

  /** Every rank's tensor becomes that of `root`. */
  broadcast(tensor: Tensor, root: number, later = false): Work { return begun('broadcast', () => native().broadcast(this.id, tensor.handle, root, later)) }

  send(tensor: Tensor, to: number, tag = 0, later = false): Work { return begun('send', () => native().send(this.id, tensor.handle, to, tag, later)) }
  receive(tensor: Tensor, from: number, tag = 0, later = false): Work { return begun('receive', () => native().receive(this.id, tensor.handle, from, tag, later)) }

  close(): void { native().closeGroup(this.id) }
}

function begun(name: string, run: () => number): Work {
  if (watch === null) return work(run())
  const going = watch(name, () => work(run()))
  return going === done ? done : { wait: () => (watch === null ? going.wait() : watch(`wait for ${name}`, () => going.wait())) }
}

function work(id: number): Work { return id === 0 ? done : { wait: () => native().waitWork(id) } }
