import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

/** Starts a server on 127.0.0.1 that ends with the test, and gives its address. */
export async function localServer(t: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The whole of a request's body. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

/** Sends content, or the part of it that a Range header asks for. */
export function sendContent(request: IncomingMessage, response: ServerResponse, content: Buffer, more: Record<string, string> = {}): void {
  const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
  const headers: Record<string, string | number> = { 'content-length': content.length - from, etag: '"x"', ...more }
  if (from > 0) headers['content-range'] = `bytes ${from}-${content.length - 1}/${content.length}`
  response.writeHead(from > 0 ? 206 : 200, headers).end(request.method === 'HEAD' ? undefined : content.subarray(from))
}
