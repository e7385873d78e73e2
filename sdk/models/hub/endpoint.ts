import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ModelError } from '../../errors'

/** Where the hub is and who asks. */
export interface Endpoint {
  readonly url: string
  readonly token: string | undefined
  readonly offline: boolean
}

/** From HF_ENDPOINT, HF_TOKEN or HUGGING_FACE_HUB_TOKEN or the token file of `hf auth login`, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE. */
export function endpoint(): Endpoint {
  const { HF_ENDPOINT, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE } = process.env
  return {
    url: (HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, ''),
    token: token(),
    offline: isOn(HF_HUB_OFFLINE) || isOn(TRANSFORMERS_OFFLINE),
  }
}

function token(): string | undefined {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env
  const given = HF_TOKEN || HUGGING_FACE_HUB_TOKEN
  if (given) return given.trim()
  const file = HF_TOKEN_PATH || join(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'), 'token')
  return existsSync(file) ? readFileSync(file, 'utf8').trim() || undefined : undefined
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && ['1', 'ON', 'YES', 'TRUE'].includes(value.toUpperCase())
}

/** How often a request is made before its failure is final. */
export const attempts = 5
/** The longest wait that a server may ask for. */
const maxWaitSeconds = 300

export type HubFetch = (url: string | URL | Request, init?: RequestInit) => Promise<Response>

/**
 * A `fetch` for one repository: sends the token to the hub's own address only, waits and asks again after 429, 5xx and
 * network failures, and turns what is final into a ModelError that names the repository.
 */
export function hubFetch(hub: Endpoint, repository: string, onWait?: (message: string) => void): HubFetch {
  let heard = false
  return async (target, init = {}) => {
    const url = String(target instanceof Request ? target.url : target)
    for (let attempt = 1; ; attempt++) {
      const last = attempt === attempts
      let response: Response
      try {
        response = await fetch(url, { ...init, headers: headers(hub, url, init) })
      } catch (cause) {
        // A host that has no address will not have one in some seconds: who mistyped a folder's name should not wait for it.
        if (last || (!heard && attempt > 1 && /^(ENOTFOUND|EAI_AGAIN)$/.test(reason(cause)))) throw networkError(hub, repository, url, cause)
        await pause(backoff(attempt), `${hostOf(url)} does not answer (${reason(cause)})`, onWait)
        continue
      }
      heard = true
      if (response.ok) return response
      const wait = last ? undefined : retryAfter(response, attempt)
      if (wait === undefined) throw await statusError(hub, repository, url, response)
      await response.body?.cancel()
      await pause(wait, `${hostOf(url)} answered ${response.status}`, onWait)
    }
  }
}

/** Seconds to wait before attempt `attempt + 1`: short at first, doubling. FETTLE_RETRY_SECONDS sets the first one. */
export function backoff(attempt: number): number {
  const first = Number(process.env.FETTLE_RETRY_SECONDS ?? 1)
  return Math.min(30, (Number.isFinite(first) ? first : 1) * 2 ** (attempt - 1))
}

export async function pause(seconds: number, why: string, onWait?: (message: string) => void): Promise<void> {
  onWait?.(`${why}; trying again in ${seconds} s`)
  await sleep(seconds * 1000)
}

function headers(hub: Endpoint, url: string, init: RequestInit): Record<string, string> {
  const given = Object.fromEntries(new Headers(init.headers))
  const own = new URL(url).origin === new URL(hub.url).origin
  return { 'user-agent': 'fettle', ...given, ...(own && hub.token ? { authorization: `Bearer ${hub.token}` } : {}) }
}

function retryAfter(response: Response, attempt: number): number | undefined {
  if (response.status !== 429 && response.status < 500) return undefined
  const asked = response.headers.get('retry-after')
  if (!asked) return backoff(attempt)
  const seconds = Number.isFinite(Number(asked)) ? Number(asked) : (Date.parse(asked) - Date.now()) / 1000
  return seconds > maxWaitSeconds ? undefined : Math.max(0, Math.ceil(seconds))
}

async function statusError(hub: Endpoint, repository: string, url: string, response: Response): Promise<ModelError> {
  const code = response.headers.get('x-error-code') ?? ''
  const said = response.headers.get('x-error-message') ?? (await response.text().catch(() => '')).slice(0, 200)
  const details = { repository, url, status: response.status, errorCode: code, said, endpoint: hub.url }
  const make = (name: string, text: string) => new ModelError(name, `${repository}: ${text}`, details)
  const account = hub.token ? 'the token that is set does not give access' : 'no token is set'
  if (code === 'GatedRepo') {
    return make('model.gated', `is gated and ${account}; accept its terms at ${hub.url}/${repository} and set HF_TOKEN to a token of that account`)
  }
  if (code === 'RevisionNotFound') return make('model.revision', `has no such revision; give a branch, tag or commit that ${hub.url}/${repository} lists`)
  // The hub hides private repositories, and answers 401 for ones that do not exist.
  if (code === 'RepoNotFound' || response.status === 404) {
    return make('model.notFound', `is not on ${hub.url}, or is private and ${account}; check the spelling (names are ORGANISATION/MODEL), or set HF_TOKEN`)
  }
  if (response.status === 401 || response.status === 403) {
    return make('model.unauthorized', `${hub.url} refuses access (${response.status}) and ${account}; accept the model's terms on its page and set HF_TOKEN to a valid token`)
  }
  if (response.status === 429) return make('model.rateLimited', `${hub.url} limits the rate of requests; wait some minutes, or set HF_TOKEN for a higher limit`)
  return make('model.hub', `${hub.url} answered ${response.status} ${response.statusText}; try again later`)
}

/** The typed error for a connection that cannot be made or kept. */
export function networkError(hub: Endpoint, repository: string, url: string, cause: unknown): ModelError {
  // Node's fetch goes past a proxy unless it is told to use it.
  const proxy = process.env.HTTPS_PROXY || process.env.https_proxy ? 'set NODE_USE_ENV_PROXY=1 (Node 24) for the proxy of HTTPS_PROXY' : 'check the network'
  return new ModelError('model.network',
    `${repository}: ${hostOf(url)} cannot be reached (${reason(cause)}); ${proxy}, set HF_ENDPOINT to a mirror, or give a local folder or builtin:smollm2-135m`,
    { repository, url, endpoint: hub.url, reason: reason(cause) }, { cause })
}

function reason(error: unknown): string {
  const inner = (error as { cause?: unknown }).cause as { code?: string; message?: string } | undefined
  return inner?.code ?? inner?.message ?? (error as Error).message
}

function hostOf(url: string): string {
  return new URL(url).host
}
