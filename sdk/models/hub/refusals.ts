import { FettleError, HubError, ModelError } from '../../errors'
import type { Endpoint } from './endpoint'

/** A server's final answer. */
export interface Answer {
  readonly status: number
  readonly statusText: string
  /** Hugging Face's name of the cause, or ''. */
  readonly code: string
  /** What it says, in its own words. */
  readonly said: string
}

/** How refusals and broken connections become typed errors. */
export interface Refusals {
  status(hub: Endpoint, repository: string, url: string, answer: Answer): FettleError
  network(hub: Endpoint, repository: string, url: string, cause: unknown): FettleError
}

/** Of a download: ModelErrors. */
export const downloadRefusals: Refusals = {
  status(hub, repository, url, { status, statusText, code, said }) {
    const details = { repository, url: bare(url), status, errorCode: code, said, endpoint: hub.url }
    const make = (name: string, text: string) => new ModelError(name, `${repository}: ${text}`, details)
    const { token } = hub.variables
    const account = accountOf(hub), set = token === undefined ? '' : `, or set ${token}`
    if (code === 'GatedRepo') {
      return make('model.gated', `is gated and ${account}; accept its terms at ${page(hub, repository)} and set ${token} to a token of that account`)
    }
    if (code === 'RevisionNotFound') return make('model.revision', `has no such revision; give a branch, tag or commit that ${page(hub, repository)} lists`)
    // A hub hides private repositories; Hugging Face answers 401 for ones that do not exist.
    if (code === 'RepoNotFound' || status === 404) {
      return make('model.notFound', token === undefined ? `is not on ${hub.url}; set ${hub.variables.url} to a mirror that has it`
        : `is not on ${hub.url}, or is private and ${account}; check the spelling (names are ORGANISATION/MODEL)${set}`)
    }
    if (status === 401 || status === 403) {
      return make('model.unauthorized', `${hub.url} refuses access (${status})${token === undefined ? `; set ${hub.variables.url} to a mirror` : ` and ${account}; accept the model's terms on its page and set ${token} to a valid token`}`)
    }
    if (status === 429) return make('model.rateLimited', `${hub.url} limits the rate of requests; wait some minutes${token === undefined ? '' : `, or set ${token} for a higher limit`}`)
    return make('model.hub', `${hub.url} answered ${status} ${statusText}; try again later`)
  },
  network: (hub, repository, url, cause) => new ModelError('model.network',
    `${repository}: ${hostOf(url)} cannot be reached (${reason(cause)}); ${networkRemedy()}, set ${hub.variables.url} to a mirror, or ${hub.instead}`,
    { repository, url: bare(url), endpoint: hub.url, reason: reason(cause) }, { cause }),
}

/** Of an upload: HubErrors. */
export const uploadRefusals: Refusals = {
  status(hub, repository, url, { status, statusText, said }) {
    const details = { repository, url: bare(url), status, said, endpoint: hub.url }
    const make = (name: string, text: string) => new HubError(name, `${repository}: ${text}`, details)
    const { token } = hub.variables
    if (status === 401) return make('upload.unauthorized', `${hub.url} does not accept the token (401); set ${token} to a valid access token of your account`)
    if (status === 403) return make('upload.forbidden', `${hub.url} does not let this token write there (403); set ${token} to one with write access, or give a repository of your own`)
    if (status === 404) return make('upload.notFound', `is not on ${hub.url}, or this token may not see it (404); check the spelling (OWNER/NAME), and that ${token} belongs to that owner`)
    if (status === 413) return make('upload.tooLarge', `${hub.url} takes no file of this size (413); write the model in smaller files: fettle convert MODEL --out DIR --max-shard-size 2GB`)
    if (status === 429) return make('upload.rateLimited', `${hub.url} limits the rate of requests; wait some minutes and upload again`)
    return make('upload.hub', `${hub.url} answered ${status} ${statusText}${said ? `: ${said}` : ''}; try again later`)
  },
  network: (hub, repository, url, cause) => new HubError('upload.network',
    `${repository}: ${hostOf(url)} cannot be reached (${reason(cause)}); ${networkRemedy()}, or set ${hub.variables.url} to another address, and upload again`,
    { repository, url: bare(url), endpoint: hub.url, reason: reason(cause) }, { cause }),
}

export function reason(error: unknown): string {
  const inner = (error as { cause?: unknown }).cause as { code?: string; message?: string } | undefined
  return inner?.code ?? inner?.message ?? (error as Error).message
}

export function hostOf(url: string): string { return new URL(url).host }

function page(hub: Endpoint, repository: string): string { return `${hub.url}/${repository.replace(/^\w+:/, '')}` }

function accountOf(hub: Endpoint): string { return hub.token ? 'the token that is set does not give access' : 'no token is set' }

/** Node's fetch goes past a proxy unless it is told to use it. */
function networkRemedy(): string {
  return process.env.HTTPS_PROXY || process.env.https_proxy ? 'set NODE_USE_ENV_PROXY=1 (Node 24) for the proxy of HTTPS_PROXY' : 'check the network'
}

/** Without its query: that of storage addresses is a signature. */
function bare(url: string): string { return url.split('?')[0] }
