import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import { FettleError } from 'fettle/dist/errors'

/** Where the sockets of a kernel stand: the connection file that the Jupyter server writes. */
export interface Connection {
  readonly transport: string
  readonly ip: string
  readonly key: string
  readonly shell_port: number
  readonly control_port: number
  readonly iopub_port: number
  readonly stdin_port: number
  readonly hb_port: number
}

/** Header of a Jupyter message (protocol 5.3). */
export interface Header {
  readonly msg_id: string
  readonly msg_type: string
  readonly session: string
  readonly username: string
  readonly date: string
  readonly version: string
}

/** One Jupyter message as it came in. */
export interface Message {
  readonly identity: readonly Buffer[]
  readonly header: Header
  readonly metadata: Readonly<Record<string, unknown>>
  readonly content: Readonly<Record<string, unknown>>
}

const delimiter = Buffer.from('<IDS|MSG>')

/** The wire form of Jupyter messages: identities, delimiter, HMAC-SHA256, four JSON parts
 * (https://jupyter-client.readthedocs.io/en/latest/messaging.html#the-wire-protocol). */
export class Wire {
  private readonly session = randomUUID()

  constructor(private readonly key: string) {}

  /** Reads the frames of one message; a wrong signature is refused. */
  decode(frames: readonly Buffer[]): Message {
    const at = frames.findIndex((frame) => frame.equals(delimiter))
    if (at < 0 || frames.length < at + 6)
      throw new FettleError('kernel.message', 'got a message that is not of the Jupyter protocol; nothing to do but to ignore it', { frames: frames.length })
    const parts = frames.slice(at + 2, at + 6)
    const seen = Buffer.from(frames[at + 1].toString('latin1'), 'hex')
    const wanted = Buffer.from(this.sign(parts), 'hex')
    if (this.key !== '' && (seen.length !== wanted.length || !timingSafeEqual(seen, wanted)))
      throw new FettleError('kernel.signature', 'got a message with a wrong signature; the client does not hold the key of this kernel', {})
    const [header, , metadata, content] = parts.map((part) => JSON.parse(part.toString('utf8')))
    return { identity: frames.slice(0, at), header, metadata, content }
  }

  /** Frames of a message that answers `parent`. `identity` is empty for messages to everyone. */
  encode(type: string, content: unknown, parent: Message | null, identity: readonly Buffer[] = [], metadata: unknown = {}): Buffer[] {
    // One session for all: a client takes a message of another one for that of a kernel that is gone, and drops those before it.
    const header: Header = {
      msg_id: randomUUID(), msg_type: type, session: this.session,
      username: parent?.header.username ?? 'kernel', date: new Date().toISOString(), version: '5.3',
    }
    const parts = [header, parent?.header ?? {}, metadata, content].map((part) => Buffer.from(JSON.stringify(part)))
    return [...identity, delimiter, Buffer.from(this.sign(parts)), ...parts]
  }

  private sign(parts: readonly Buffer[]): string {
    if (this.key === '') return ''
    const hash = createHmac('sha256', this.key)
    for (const part of parts) hash.update(part)
    return hash.digest('hex')
  }
}
