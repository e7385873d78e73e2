import type { UploadOptions } from './options'
import type { UploadPlan } from './plan'
import { defaultUpload } from './defaults'
import { readOptions, readValue } from './read'

/** The licence that AI Studio gives a repository of which none is said. */
export const aiStudioLicense = 'Apache License 2.0'

/** What a call of `method(repository, options)` asks for. @throws PlanError `plan.value`, `plan.unknown` */
export function uploadPlan(method: string, repository: string, options: UploadOptions): UploadPlan {
  const read = readOptions(method, options, { to: 'upload.to', private: 'upload.private', license: 'upload.license' })
  return { ...defaultUpload, ...(read.to === 'aistudio' ? { license: aiStudioLicense } : {}), ...read, repository: readValue(method, repository, 'upload.repository') }
}
