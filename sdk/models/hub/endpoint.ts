import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { PlanError } from '../../errors'

/** Where a hub is, who asks, and what a user may set when it refuses. */
export interface Endpoint {
  readonly url: string
  /** A second address that the token goes to as well. */
  readonly api?: string
  readonly token: string | undefined
  /** What stands before the token in an Authorization header. */
  readonly scheme: 'Bearer' | 'token'
  readonly offline: boolean
  /** Variables of the environment for the token and the address; no token variable where none is ever asked for. */
  readonly variables: { readonly token?: string; readonly url: string }
  /** What does without this hub. */
  readonly instead: string
}

const instead = 'give a local folder or builtin:smollm2-135m'

/** From HF_ENDPOINT, HF_TOKEN or HUGGING_FACE_HUB_TOKEN or the token file of `hf auth login`, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE. */
export function endpoint(): Endpoint {
  return {
    url: address('HF_ENDPOINT', 'https://huggingface.co'), token: checked(huggingFaceToken(), huggingFaceVariable), scheme: 'Bearer', offline: isOffline(),
    variables: { token: huggingFaceVariable, url: 'HF_ENDPOINT' }, instead,
  }
}

/** From STUDIO_GIT_HOST, STUDIO_MODEL_API_URL_PREFIX, and AISTUDIO_ACCESS_TOKEN or the token file of AI Studio's own library. */
export function aiStudioEndpoint(): Endpoint {
  return {
    url: address('STUDIO_GIT_HOST', 'https://git.aistudio.baidu.com'), api: address('STUDIO_MODEL_API_URL_PREFIX', 'https://aistudio.baidu.com'),
    token: checked(aiStudioToken(), aiStudioVariable), scheme: 'token', offline: isOffline(), variables: { token: aiStudioVariable, url: 'STUDIO_GIT_HOST' }, instead,
  }
}

/** The first variable that Hugging Face's own libraries read a token from. */
export const huggingFaceVariable = 'HF_TOKEN'
/** The variable that AI Studio's own library reads its token from. */
export const aiStudioVariable = 'AISTUDIO_ACCESS_TOKEN'

/** An address from the environment, without a slash at its end. */
export function address(variable: string, usual: string): string {
  return (process.env[variable] || usual).replace(/\/+$/, '')
}

/** HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids to fetch anything. */
export function isOffline(): boolean { return isOn(process.env.HF_HUB_OFFLINE) || isOn(process.env.TRANSFORMERS_OFFLINE) }

function huggingFaceToken(): string | undefined {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env
  return given(HF_TOKEN) ?? given(HUGGING_FACE_HUB_TOKEN) ?? fromFile(HF_TOKEN_PATH || join(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'), 'token'))
}

function aiStudioToken(): string | undefined {
  return given(process.env[aiStudioVariable]) ?? fromFile(join(process.env.AISTUDIO_CACHE_HOME || homedir(), '.cache', 'aistudio', '.auth', 'token'))
}

/** What no header can carry would be shown by the error that says so. @throws PlanError `hub.token` */
function checked(token: string | undefined, variable: string): string | undefined {
  if (token === undefined || /^[\x21-\x7e]+$/.test(token)) return token
  throw new PlanError('hub.token', `expected an access token for ${variable}, got a text with characters that none has; copy it again, alone`, { variable })
}

function given(value: string | undefined): string | undefined { return value?.trim() || undefined }

function fromFile(file: string): string | undefined {
  return existsSync(file) ? given(readFileSync(file, 'utf8')) : undefined
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && ['1', 'ON', 'YES', 'TRUE'].includes(value.toUpperCase())
}
