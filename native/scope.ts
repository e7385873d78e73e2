import { NativeError } from './errors'
import { native } from './library'
import type { Tensor } from './tensor'

// Finalizers never run inside a synchronous loop, so tensors are freed by scope: each scope lists the tensors made
// inside it, and its end frees all but those that its result reaches.
const scopes: Tensor[][] = []
let current: Tensor[] | undefined
let handles = new Uint32Array(256)

/** Puts a new tensor under the innermost scope. */
export function track(tensor: Tensor): void {
  if (current !== undefined) current.push(tensor)
}

/** Depth of nested scopes. */
export function scopeDepth(): number {
  return scopes.length
}

function isTensor(value: object): value is Tensor {
  return 'handle' in value && typeof (value as Tensor).free === 'function'
}

/** Collects the tensors reachable through arrays, plain objects, Maps and Sets. */
function reach(value: unknown, found: Set<Tensor>, seen: Set<object>): void {
  if (typeof value !== 'object' || value === null || seen.has(value) || ArrayBuffer.isView(value)) return
  if (isTensor(value)) {
    found.add(value)
    return
  }
  seen.add(value)
  if (value instanceof Map) {
    for (const [key, item] of value) {
      reach(key, found, seen)
      reach(item, found, seen)
    }
  } else if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) reach(item, found, seen)
  } else {
    for (const item of Object.values(value)) reach(item, found, seen)
  }
}

function close(tensors: Tensor[], kept: Set<Tensor> | undefined): void {
  if (handles.length < tensors.length) handles = new Uint32Array(tensors.length * 2)
  let count = 0
  for (const tensor of tensors) {
    if (tensor.handle === 0) continue
    if (kept?.has(tensor)) {
      track(tensor)
    } else {
      handles[count++] = tensor.handle
      tensor.handle = 0
    }
  }
  if (count > 0) native().freeAll(handles, count)
}

/**
 * Runs `body` and frees every tensor that it made, except those reachable from what it returns (through arrays, objects,
 * Maps and Sets), which pass to the surrounding scope. An error frees all of them. `body` must be synchronous.
 */
export function scope<T>(body: () => T): T {
  const tensors: Tensor[] = []
  scopes.push(tensors)
  current = tensors
  let kept: Set<Tensor> | undefined
  try {
    const result = body()
    if (typeof result === 'object' && result !== null) {
      if (typeof (result as { then?: unknown }).then === 'function') throw new NativeError('native.argument', 'scope() needs a synchronous body; await outside of it')
      kept = new Set()
      reach(result, kept, new Set())
    }
    return result
  } finally {
    scopes.pop()
    current = scopes[scopes.length - 1]
    close(tensors, kept)
  }
}

/** Lifts a tensor out of all scopes: it lives until `free()`. */
export function keep<T extends Tensor>(tensor: T): T {
  for (let i = scopes.length - 1; i >= 0; i--) {
    const at = scopes[i].lastIndexOf(tensor)
    if (at >= 0) {
      scopes[i].splice(at, 1)
      break
    }
  }
  return tensor
}
