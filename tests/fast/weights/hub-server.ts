import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

/** What the server does instead of answering well: returns true when it answered. */
export type Trouble = (request: IncomingMessage, response: ServerResponse) => boolean

export interface FakeHub {
  readonly url: string
  /** `METHOD path range` of every request, in order. */
  readonly requests: { path: string; range: string | undefined; authorization: string | undefined }[]
  trouble: Trouble | undefined
}

/** Names of files that are kept as large ones, with a SHA-256. */
const isLarge = (path: string) => /\.(safetensors|gguf)$/.test(path)
const commit = 'c'.repeat(40)

/** Plays the hub's endpoints for `repositories` (name → path → content) on 127.0.0.1 and points the environment at it. */
export async function fakeHub(t: TestContext, repositories: Record<string, Record<string, Buffer>>): Promise<FakeHub> {
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://localhost')
    hub.requests.push({ path: decodeURIComponent(url.pathname), range: request.headers.range, authorization: request.headers.authorization })
    if (!hub.trouble?.(request, response)) answer(repositories, decodeURIComponent(url.pathname), request, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const hub: FakeHub = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests: [], trouble: undefined }
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return hub
}

function answer(repositories: Record<string, Record<string, Buffer>>, path: string, request: IncomingMessage, response: ServerResponse): void {
  const api = /^\/api\/models\/([^/]+(?:\/[^/]+)?)\/(revision|tree)\/([^/]+)$/.exec(path)
  const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path)
  const name = api?.[1] ?? file?.[1] ?? ''
  const files = repositories[name]
  if (!files) return refuse(response, 404, 'RepoNotFound', 'Repository not found')
  const revision = api?.[3] ?? file![2]
  if (!['main', 'v1', commit].includes(revision)) return refuse(response, 404, 'RevisionNotFound', 'Invalid rev id')
  if (api?.[2] === 'revision') return json(response, { _id: '1', id: name, sha: commit, lastModified: '2026-01-01T00:00:00Z', private: false, gated: false })
  if (api) return json(response, Object.entries(files).map(([entry, content]) => listed(entry, content)))
  const content = files[file![3]]
  if (!content) return refuse(response, 404, 'EntryNotFound', 'Entry not found')
  send(content, request, response)
}

function listed(path: string, content: Buffer): object {
  const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
  const lfs = isLarge(path) ? { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 134 } : undefined
  return { type: 'file', path, size: content.length, oid, lfs }
}

function send(content: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
  const headers: Record<string, string | number> = { 'content-length': content.length - from, etag: '"x"' }
  if (from > 0) headers['content-range'] = `bytes ${from}-${content.length - 1}/${content.length}`
  response.writeHead(from > 0 ? 206 : 200, headers).end(content.subarray(from))
}

/** Answers with one of the hub's own refusals. */
export function refuse(response: ServerResponse, status: number, code: string, message: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'x-error-code': code, 'x-error-message': message, 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error: message }))
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}
