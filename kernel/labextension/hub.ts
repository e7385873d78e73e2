import type { ChatState } from '../../sdk/chat/state'
import type { BoardSamples, BoardState } from '../../sdk/views/state'
import type { ToPage } from '../session/lab-protocol'
import type { Link } from './link'

/** What the page knows of one run. */
export interface BoardTopic { state: BoardState | null; samples: BoardSamples | null; link: Link | null }
export interface ChatTopic { state: ChatState | null; link: Link | null }

/** A renderer; it is called when there is something new for it, or when its kernel came or went. */
export interface View { changed(): void }

interface Entry<Topic> { readonly topic: Topic; readonly views: Set<View> }

/** All runs and chats of all kernels that this page talks to, and the renderers that show them. */
export class Hub {
  private readonly boards = new Map<string, Entry<BoardTopic>>()
  private readonly chats = new Map<string, Entry<ChatTopic>>()

  board(run: string): Entry<BoardTopic> {
    return entry(this.boards, run, { state: null, samples: null, link: null })
  }

  chat(chat: string): Entry<ChatTopic> {
    return entry(this.chats, chat, { state: null, link: null })
  }

  /** Takes what a kernel pushes. */
  take(message: ToPage, link: Link): void {
    switch (message.type) {
      case 'live': return this.live(message, link)
      case 'board': return change(this.board(message.run), link, { state: message.state })
      case 'samples': return change(this.board(message.run), link, { samples: message.samples })
      case 'chat': return change(this.chat(message.chat), link, { state: message.state })
    }
  }

  /** A kernel is gone: what it told is as it was last, and nobody answers buttons. */
  lost(link: Link): void { this.drop(link, new Set()) }

  private live({ boards, chats }: Extract<ToPage, { type: 'live' }>, link: Link): void {
    this.drop(link, new Set([...boards.map(({ run }) => run), ...chats.map(({ chat }) => chat)]))
    for (const { run, data } of boards) change(this.board(run), link, { state: data.state, samples: data.samples })
    for (const { chat, state } of chats) change(this.chat(chat), link, { state })
  }

  private drop(link: Link, keep: ReadonlySet<string>): void {
    for (const entries of [this.boards, this.chats] as readonly Map<string, Entry<BoardTopic | ChatTopic>>[])
      for (const [id, { topic, views }] of entries) if (topic.link === link && !keep.has(id)) {
        topic.link = null
        // Whoever shows it later has its own data; a page that is open for weeks sees many runs.
        if (views.size === 0) entries.delete(id)
        for (const view of views) view.changed()
      }
  }
}

function entry<Topic>(entries: Map<string, Entry<Topic>>, id: string, fresh: Topic): Entry<Topic> {
  const known = entries.get(id)
  if (known) return known
  const made = { topic: fresh, views: new Set<View>() }
  entries.set(id, made)
  return made
}

/** Takes news of a kernel. Of two that tell of one run (a notebook that attached to another's) the first has the word while
 * it lives. */
function change<Topic extends { link: Link | null }>({ topic, views }: Entry<Topic>, link: Link, values: Partial<Topic>): void {
  if (topic.link && topic.link !== link) return
  Object.assign(topic, values, { link })
  for (const view of views) view.changed()
}
