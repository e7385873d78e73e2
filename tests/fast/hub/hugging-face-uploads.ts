import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import { environment } from '../../support/environment'
import { bodyOf, localServer, sendJson } from '../../support/server'
import type { Trouble } from './hub-server'

/** Takes uploads as huggingface.co does: repositories, preupload, Git LFS in one piece or in parts, commits. */
export interface UploadHub {
  readonly url: string
  readonly requests: { method: string; path: string; authorization: string | undefined }[]
  readonly repositories: Map<string, { visibility: string; readonly files: Map<string, Buffer>; readonly commits: string[] }>
  /** Large files by SHA-256. */
  readonly storage: Map<string, Buffer>
  /** Bytes of a part of an upload in parts; 0: in one piece. */
  part: number
  trouble: Trouble | undefined
}

export const hubToken = 'hf_5ecret-token'
const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex')

export async function uploadHub(t: TestContext): Promise<UploadHub> {
  const parts = new Map<string, Buffer[]>()
  const url = await localServer(t, (request, response) => {
    hub.requests.push({ method: request.method!, path: request.url!.split('?')[0], authorization: request.headers.authorization })
    if (!hub.trouble?.(request, response)) void answer(hub, parts, request, response)
  })
  const hub: UploadHub = { url, requests: [], repositories: new Map(), storage: new Map(), part: 0, trouble: undefined }
  environment(t, { HF_ENDPOINT: url })
  return hub
}

async function answer(hub: UploadHub, parts: Map<string, Buffer[]>, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url!, 'http://localhost'), body = await bodyOf(request)
  const stored = /^\/storage\/([0-9a-f]{64})(?:\/(\d+))?$/.exec(pathname)
  if (stored) return store(hub, parts, response, stored[1], stored[2], body)
  const completed = /^\/complete\/([0-9a-f]{64})$/.exec(pathname)
  if (completed) {
    hub.storage.set(completed[1], Buffer.concat(parts.get(completed[1])!))
    return sendJson(response, {}, sha256(hub.storage.get(completed[1])!) === completed[1] ? 200 : 400)
  }
  if (request.headers.authorization !== `Bearer ${hubToken}`) return sendJson(response, { error: `Invalid credentials: ${request.headers.authorization}` }, 401)
  if (pathname === '/api/repos/create') return create(hub, response, JSON.parse(body.toString()) as { name: string; organization: string; visibility: string; type: string })
  const [, name, what] = /^\/(?:api\/models\/)?([^/]+\/[^/.]+)(?:\.git)?\/(preupload\/main|info\/lfs\/objects\/batch|commit\/main)$/.exec(pathname) ?? []
  if (!hub.repositories.has(name)) return sendJson(response, { error: 'Repository not found' }, 404)
  if (what === 'preupload/main') return sendJson(response, { files: (JSON.parse(body.toString()) as { files: { path: string }[] }).files.map(({ path }) => ({ path, uploadMode: /\.safetensors$/.test(path) ? 'lfs' : 'regular', shouldIgnore: false })) })
  if (what === 'commit/main') return commit(hub, name, response, body)
  const { objects } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] }
  sendJson(response, { transfer: hub.part ? 'multipart' : 'basic', objects: objects.map((object) => ({ ...object, ...(hub.storage.has(object.oid) ? {} : { actions: { upload: action(hub, object) } }) })) })
}

function create({ repositories }: UploadHub, response: ServerResponse, { name, organization, visibility, type }: { name: string; organization: string; visibility: string; type: string }): void {
  const id = `${organization}/${name}`
  if (organization !== 'me') return sendJson(response, { error: `You don't have the rights to create a model under the namespace "${organization}"` }, 403)
  if (repositories.has(id)) return sendJson(response, { error: 'You already created this model repo' }, 409)
  if (type !== 'model') return sendJson(response, { error: 'bad type' }, 400)
  repositories.set(id, { visibility, files: new Map(), commits: [] })
  sendJson(response, { url: id, id })
}

function action({ url, part }: UploadHub, { oid, size }: { oid: string; size: number }): object {
  if (part === 0) return { href: `${url}/storage/${oid}?X-Amz-Signature=s1gnature` }
  const header = Object.fromEntries(Array.from({ length: Math.ceil(size / part) }, (_, i) => [String(i + 1).padStart(5, '0'), `${url}/storage/${oid}/${i + 1}?X-Amz-Signature=s1gnature`]))
  return { href: `${url}/complete/${oid}`, header: { chunk_size: String(part), ...header } }
}

function store({ storage }: UploadHub, parts: Map<string, Buffer[]>, response: ServerResponse, oid: string, part: string | undefined, body: Buffer): void {
  if (part === undefined) {
    if (sha256(body) === oid) storage.set(oid, body)
    return void response.writeHead(sha256(body) === oid ? 200 : 400).end()
  }
  const all = parts.get(oid) ?? []
  all[Number(part) - 1] = body
  parts.set(oid, all)
  response.writeHead(200, { etag: `"${part}"` }).end()
}

function commit({ url, repositories, storage }: UploadHub, name: string, response: ServerResponse, body: Buffer): void {
  const { files, commits } = repositories.get(name)!
  for (const line of body.toString().split('\n')) {
    const { key, value } = JSON.parse(line) as { key: string; value: Record<string, string> }
    if (key === 'header') commits.push(value.summary)
    else files.set(value.path, key === 'lfsFile' ? storage.get(value.oid)! : Buffer.from(value.content, 'base64'))
  }
  sendJson(response, { success: true, commitOid: 'c'.repeat(40), commitUrl: `${url}/${name}/commit/c`, hookOutput: '' })
}
