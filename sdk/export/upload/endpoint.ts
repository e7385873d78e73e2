import { HubError } from '../../errors'
import { aiStudioEndpoint, endpoint, type Endpoint } from '../../models/hub/endpoint'
import type { UploadPlan } from '../../plan/plan'

/** What people call the hubs. */
export const hubNames: Readonly<Record<UploadPlan['to'], string>> = { huggingface: 'Hugging Face', aistudio: 'AI Studio' }

const endpoints: Readonly<Record<UploadPlan['to'], () => Endpoint>> = { huggingface: endpoint, aistudio: aiStudioEndpoint }

/** The hub that a plan uploads to, with the token for it: the one given, else the environment's. @throws HubError `upload.token`, `upload.offline` */
export function uploadEndpoint({ to, repository }: UploadPlan, given?: string): Endpoint & { readonly token: string } {
  const hub = endpoints[to](), token = given ?? hub.token
  if (hub.offline) throw new HubError('upload.offline', `${repository}: HF_HUB_OFFLINE forbids to upload; unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE`, { repository })
  if (token !== undefined) return { ...hub, token }
  throw new HubError('upload.token', `${repository}: expected an access token of ${hubNames[to]} for the upload, found none; set ${hub.variables.token} in the environment`, { repository, variable: hub.variables.token })
}
