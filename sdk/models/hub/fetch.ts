import { setTimeout as sleep } from 'node:timers/promises'
import type { Endpoint } from './endpoint'
import { downloadRefusals, hostOf, reason, type Refusals } from './refusals'

/** How often a request is made before its failure is final. */
export const attempts = 5
/** The longest wait that a server may ask for. */
const maxWaitSeconds = 300

export type HubFetch = (url: string | URL | Request, init?: RequestInit) => Promise<Response>

/**
 * A `fetch` for one repository: sends the token to the hub's own addresses only, waits and asks again after 429, 5xx and
 * network failures, and turns what is final into a typed error that names the repository.
 */
export function hubFetch(hub: Endpoint, repository: string, onWait?: (message: string) => void, refusals: Refusals = downloadRefusals): HubFetch {
  let heard = false
  return async (target, init = {}) => {
    const url = String(target instanceof Request ? target.url : target)
    for (let attempt = 1; ; attempt++) {
      const last = attempt === attempts
      let response: Response
      try {
        response = await fetch(url, { ...init, headers: headers(hub, url, init) })
      } catch (cause) {
        if (init.signal?.aborted) throw cause
        // A host that has no address will not have one in some seconds: who mistyped a folder's name should not wait for it.
        if (last || (!heard && attempt > 1 && /^(ENOTFOUND|EAI_AGAIN)$/.test(reason(cause)))) throw refusals.network(hub, repository, url, cause)
        await pause(backoff(attempt), `${hostOf(url)} does not answer (${reason(cause)})`, onWait)
        continue
      }
      heard = true
      if (response.ok) return response
      const wait = last ? undefined : retryAfter(response, attempt)
      if (wait === undefined) throw refusals.status(hub, repository, url, await answerOf(response, hub.token))
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

/** What the request brings itself wins: storage behind a hub has credentials of its own. */
function headers(hub: Endpoint, url: string, init: RequestInit): Record<string, string> {
  const given = Object.fromEntries(new Headers(init.headers))
  const own = [hub.url, hub.api].some((each) => each !== undefined && new URL(url).origin === new URL(each).origin)
  return { 'user-agent': 'fettle', ...(own && hub.token ? { authorization: `${hub.scheme} ${hub.token}` } : {}), ...given }
}

function retryAfter(response: Response, attempt: number): number | undefined {
  if (response.status !== 429 && response.status < 500) return undefined
  const asked = response.headers.get('retry-after')
  if (!asked) return backoff(attempt)
  const seconds = Number.isFinite(Number(asked)) ? Number(asked) : (Date.parse(asked) - Date.now()) / 1000
  return seconds > maxWaitSeconds ? undefined : Math.max(0, Math.ceil(seconds))
}

async function answerOf(response: Response, token: string | undefined): Promise<Parameters<Refusals['status']>[3]> {
  const said = response.headers.get('x-error-message') ?? await response.text().catch(() => '')
  // A server may repeat what it was sent.
  const safe = token ? said.replaceAll(token, '(hidden)') : said
  return { status: response.status, statusText: response.statusText, code: response.headers.get('x-error-code') ?? '', said: safe.slice(0, 200) }
}
