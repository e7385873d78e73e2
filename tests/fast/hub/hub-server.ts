import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import { localServer, sendContent, sendJson } from '../../support/server'

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
  const url = await localServer(t, (request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost')
    hub.requests.push({ path: decodeURIComponent(pathname), range: request.headers.range, authorization: request.headers.authorization })
    if (!hub.trouble?.(request, response)) answer(repositories, decodeURIComponent(pathname), request, response)
  })
  const hub: FakeHub = { url, requests: [], trouble: undefined }
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
  if (api?.[2] === 'revision') return sendJson(response, { _id: '1', id: name, sha: commit, lastModified: '2026-01-01T00:00:00Z', private: false, gated: false })
  if (api) return sendJson(response, Object.entries(files).map(([entry, content]) => listed(entry, content)))
  const content = files[file![3]]
  if (!content) return refuse(response, 404, 'EntryNotFound', 'Entry not found')
  sendContent(request, response, content)
}

function listed(path: string, content: Buffer): object {
  const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
  const lfs = isLarge(path) ? { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 134 } : undefined
  return { type: 'file', path, size: content.length, oid, lfs }
}

/** Answers with one of the hub's own refusals. */
export function refuse(response: ServerResponse, status: number, code: string, message: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'x-error-code': code, 'x-error-message': message, 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error: message }))
}
