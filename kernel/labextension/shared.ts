/** Packages that the page shares with its extensions, by name and version (webpack's module federation). */
export type SharedScope = Record<string, Record<string, SharedModule>>

interface SharedModule { get(): Promise<() => unknown> | (() => unknown); readonly loaded?: unknown }

const parts = (version: string) => version.split(/[.-]/).map(Number)

function newerFirst(a: string, b: string): number {
  const [left, right] = [parts(a), parts(b)]
  for (let i = 0; i < 3; i++) if (left[i] !== right[i]) return (right[i] || 0) - (left[i] || 0)
  return 0
}

/** A package of the page: the copy that it uses already, else the newest. Its tokens only match when the copy is the page's. */
export async function shared<T>(scope: SharedScope, name: string): Promise<T | null> {
  const versions = scope[name] ?? {}
  const [first] = Object.keys(versions).sort((a, b) => Number(Boolean(versions[b].loaded)) - Number(Boolean(versions[a].loaded)) || newerFirst(a, b))
  return first === undefined ? null : (await versions[first].get())() as T
}
