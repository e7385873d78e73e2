import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import { bodyOf, localServer, sendContent, sendJson } from '../../support/server'
import { environment } from '../../support/environment'
import type { Trouble } from './hub-server'

/** A repository: its settings, and its files as Git holds them: large ones as pointers. */
export interface StudioRepository { readonly private: boolean; readonly license: string; readonly files: Map<string, { blob: Buffer; large: boolean }> }

export interface FakeStudio {
  readonly url: string
  readonly requests: { method: string; path: string; authorization: string | undefined }[]
  readonly repositories: Map<string, StudioRepository>
  /** Large files by SHA-256. */
  readonly storage: Map<string, Buffer>
  /** Commit messages. */
  readonly commits: string[]
  trouble: Trouble | undefined
}

export const studioToken = 'studio-5ecret-token'
const sha1 = (content: Buffer) => createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex')
const pointer = (content: Buffer) => Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(content)}\nsize ${content.length}\n`)
const isLarge = (path: string) => /\.(safetensors|pdparams)$/.test(path)
const treeSha = 'a'.repeat(40)

/**
 * Plays AI Studio on 127.0.0.1, both its Gitea server and its model centre, as aistudio-sdk 0.3.9 speaks to them, and
 * points the environment at it. Files of `repositories` can be read by the token alone.
 */
export async function fakeStudio(t: TestContext, repositories: Record<string, Record<string, Buffer>> = {}): Promise<FakeStudio> {
  const url = await localServer(t, (request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost')
    studio.requests.push({ method: request.method!, path: decodeURIComponent(pathname), authorization: request.headers.authorization })
    if (!studio.trouble?.(request, response)) void answer(studio, request, response)
  })
  const studio: FakeStudio = { url, requests: [], repositories: new Map(), storage: new Map(), commits: [], trouble: undefined }
  for (const [name, files] of Object.entries(repositories)) {
    const repository: StudioRepository = { private: true, license: 'Apache License 2.0', files: new Map() }
    for (const [path, content] of Object.entries(files)) {
      if (isLarge(path)) studio.storage.set(sha256(content), content)
      repository.files.set(path, { blob: isLarge(path) ? pointer(content) : content, large: isLarge(path) })
    }
    studio.repositories.set(name, repository)
  }
  environment(t, { STUDIO_GIT_HOST: `${url}/`, STUDIO_MODEL_API_URL_PREFIX: url })
  return studio
}

/** What a file holds, large or not. */
export function contentOf({ storage, repositories }: FakeStudio, name: string, path: string): Buffer {
  const { blob, large } = repositories.get(name)!.files.get(path)!
  return large ? storage.get(/sha256:([0-9a-f]{64})/.exec(blob.toString())![1])! : blob
}

async function answer(studio: FakeStudio, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url!, 'http://localhost')
  const body = await bodyOf(request)
  const stored = /^\/storage\/([0-9a-f]{64})$/.exec(pathname)
  if (stored) return store(studio, request, response, stored[1], body)
  if (request.headers.authorization !== `token ${studioToken}`) return sendJson(response, { message: `token ${request.headers.authorization} is not valid` }, 401)
  if (pathname === '/modelcenter/v2/models/sdk/add') return create(studio, response, JSON.parse(body.toString()) as Created)
  const batch = /^\/(.+?\/.+?)\.git\/info\/lfs\/objects\/batch$/.exec(pathname)
  if (batch) return lfsBatch(studio, response, JSON.parse(body.toString()) as Batch)
  const verify = /^\/verify\/([0-9a-f]{64})$/.exec(pathname)
  if (verify) return sendJson(response, { message: 'ok' }, studio.storage.has(verify[1]) ? 200 : 404)
  const [, name, rest] = /^\/api\/v1\/repos\/([^/]+\/[^/]+)\/(.+)$/.exec(decodeURIComponent(pathname)) ?? []
  const repository = studio.repositories.get(name)
  if (!repository) return sendJson(response, { message: 'The target could not be found.' }, 404)
  if (rest === 'tags/v1') return sendJson(response, { commit: { sha: treeSha } })
  if (/^git\/trees\/(master|a{40})$/.test(rest)) return tree(repository, Number(searchParams.get('page')), response)
  if (rest === 'preupload/master') return sendJson(response, { files: (JSON.parse(body.toString()) as { files: { path: string }[] }).files.map(({ path }) => ({ path, lfs: isLarge(path) })) })
  if (rest === 'contents' && request.method === 'POST') return commit(studio, repository, response, JSON.parse(body.toString()) as Commit)
  const [, what, path] = /^(contents|media)\/(.+)$/.exec(rest) ?? []
  const file = repository.files.get(path)
  if (!file) return sendJson(response, { message: 'The target could not be found.' }, 404)
  const content = contentOf(studio, name, path)
  if (what === 'media') return sendContent(request, response, content)
  return sendJson(response, { path, size: content.length, sha: sha1(file.blob), ...(path === 'model.safetensors' ? { Sha256: sha256(content) } : {}) })
}

/** Two pages, as of a repository with many files. */
function tree({ files }: StudioRepository, page: number, response: ServerResponse): void {
  const all = [...files].map(([path, { blob }]) => ({ path, type: 'blob', mode: '100644', size: blob.length, sha: sha1(blob) })), half = Math.ceil(all.length / 2)
  sendJson(response, { sha: treeSha, tree: page === 1 ? [{ path: 'folder', type: 'tree', sha: 'b'.repeat(40) }, ...all.slice(0, half)] : all.slice(half), truncated: page === 1 })
}

interface Created { repoType: number; repoName: string; modelName: string; license: string }

function create({ repositories }: FakeStudio, response: ServerResponse, { repoType, repoName, license }: Created): void {
  if (license === 'unknown') return sendJson(response, { errorCode: 4001, errorMsg: `license not supported for ${studioToken}`, logId: '1' })
  const name = `me/${repoName}`
  if (repositories.has(name)) return sendJson(response, { errorCode: 4002, errorMsg: 'repo already created', logId: '1' })
  repositories.set(name, { private: repoType === 0, license, files: new Map() })
  sendJson(response, { errorCode: 0, result: { repoName, repoType, license, modelName: repoName, desc: '' } })
}

interface Batch { operation: string; objects: { oid: string; size: number }[]; transfers: string[]; hash_algo: string; ref: { name: string } }

function lfsBatch({ url, storage }: FakeStudio, response: ServerResponse, { operation, objects, transfers, hash_algo, ref }: Batch): void {
  const right = operation === 'upload' && transfers.includes('basic') && hash_algo === 'sha256' && ref.name === 'refs/heads/master'
  if (!right) return sendJson(response, { message: 'bad batch' }, 422)
  const actions = (oid: string) => ({ upload: { href: `${url}/storage/${oid}?signature=s1gnature`, header: { 'x-part': 'of-batch', authorization: 'signed' } }, verify: { href: `${url}/verify/${oid}` } })
  sendJson(response, { objects: objects.map(({ oid, size }) => ({ oid, size, ...(storage.has(oid) ? {} : { actions: actions(oid) }) })) })
}

function store({ storage }: FakeStudio, request: IncomingMessage, response: ServerResponse, oid: string, body: Buffer): void {
  const right = request.method === 'PUT' && request.headers.authorization === 'signed' && request.headers['x-part'] === 'of-batch' && sha256(body) === oid
  if (right) storage.set(oid, body)
  response.writeHead(right ? 200 : 403).end()
}

interface Commit { branch: string; message: string; files: { path: string; content: string; lfsPointer: boolean; operation: 'create' | 'update'; sha?: string }[] }

function commit({ commits }: FakeStudio, { files }: StudioRepository, response: ServerResponse, { branch, message, files: changes }: Commit): void {
  const wrong = changes.find(({ path, operation, sha }) => {
    const there = files.get(path)
    return there ? operation !== 'update' || sha !== sha1(there.blob) : operation !== 'create'
  })
  if (branch !== 'master' || wrong) return sendJson(response, { message: `cannot commit ${wrong?.path}` }, 422)
  for (const { path, content, lfsPointer } of changes) files.set(path, { blob: Buffer.from(content, 'base64'), large: lfsPointer })
  commits.push(message)
  sendJson(response, { commit: { sha: treeSha } }, 201)
}
