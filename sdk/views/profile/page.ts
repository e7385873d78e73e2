import { Html, html } from '../html'
import { profileView, type ProfileFacts } from '../objects/profile'

/** A profile as a page of its own: no server is asked for anything. */
export function profilePage(profile: ProfileFacts): string {
  const { 'text/html': body } = profileView(profile), [first] = profile.ranks[0].steps
  return html`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Profile of ${profile.data.model}, step ${first.step}</title><style>:root{color-scheme:light dark}body{margin:24px auto;max-width:1080px;padding:0 16px;background:Canvas}</style></head><body>${new Html(body)}</body></html>\n`.toString()
}
