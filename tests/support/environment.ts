import type { TestContext } from 'node:test'
import * as path from 'node:path'
import { temporaryFolder } from './tiny'

/** Sets variables of the environment (undefined: unset) until the test ends. */
export function environment(t: TestContext, values: Record<string, string | undefined>): void {
  const before = Object.fromEntries(Object.keys(values).map((key) => [key, process.env[key]]))
  apply(values)
  t.after(() => apply(before))
}

function apply(values: Record<string, string | undefined>): void {
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) delete process.env[key]
    else process.env[key] = value
  }
}

/** No token, an empty cache and no wait between attempts. @returns the folder that caches are in */
export function bareHubs(t: TestContext): string {
  const home = temporaryFolder(t)
  environment(t, {
    FETTLE_HOME: undefined, XDG_CACHE_HOME: home, HF_HOME: path.join(home, 'hf'), AISTUDIO_CACHE_HOME: path.join(home, 'aistudio'), FETTLE_RETRY_SECONDS: '0',
    HF_ENDPOINT: 'http://127.0.0.1:9', STUDIO_GIT_HOST: 'http://127.0.0.1:9', STUDIO_MODEL_API_URL_PREFIX: 'http://127.0.0.1:9', FETTLE_DATASETS_URL: 'http://127.0.0.1:9',
    HF_TOKEN: undefined, HUGGING_FACE_HUB_TOKEN: undefined, HF_TOKEN_PATH: undefined, AISTUDIO_ACCESS_TOKEN: undefined, HF_HUB_OFFLINE: undefined, TRANSFORMERS_OFFLINE: undefined,
    HF_HUB_CACHE: undefined, HUGGINGFACE_HUB_CACHE: undefined,
  })
  return home
}
