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
      case 'board': return change(this.board(message.run), { state: message.state, link })
      case 'samples': return change(this.board(message.run), { samples: message.samples, link })
      case 'chat': return change(this.chat(message.chat), { state: message.state, link })
    }
  }

  /** A kernel is gone: what it told is as it was last, and nobody answers buttons. */
  lost(link: Link): void { this.drop(link, new Set()) }

  private live({ boards, chats }: Extract<ToPage, { type: 'live' }>, link: Link): void {
    this.drop(link, new Set([...boards.map(({ run }) => run), ...chats.map(({ chat }) => chat)]))
    for (const { run, data } of boards) change(this.board(run), { state: data.state, samples: data.samples, link })
    for (const { chat, state } of chats) change(this.chat(chat), { state, link })
  }

  private drop(link: Link, keep: ReadonlySet<string>): void {
    for (const entries of [this.boards, this.chats])
      for (const [id, entry] of entries) if (entry.topic.link === link && !keep.has(id)) change(entry as Entry<{ link: Link | null }>, { link: null })
  }
}

function entry<Topic>(entries: Map<string, Entry<Topic>>, id: string, fresh: Topic): Entry<Topic> {
  const known = entries.get(id)
  if (known) return known
  const made = { topic: fresh, views: new Set<View>() }
  entries.set(id, made)
  return made
}

function change<Topic extends object>({ topic, views }: Entry<Topic>, values: Partial<Topic>): void {
  Object.assign(topic, values)
  for (const view of views) view.changed()
}
