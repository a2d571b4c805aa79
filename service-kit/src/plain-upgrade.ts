import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'

/** Headers that are about this hop (RFC 9110 section 7.8, RFC 7540 section 3.2.1). */
const HOP_HEADERS = ['connection', 'upgrade', 'http2-settings']

/** Whether an upgrade is one to a WebSocket, which is answered as such, be it by a refusal. */
export function offersWebSocket(req: IncomingMessage): boolean {
  return req.headers.upgrade?.toLowerCase() === 'websocket'
}

/**
 * Answers a request that offers an upgrade which nobody here takes as the plain request that it also is, with its body:
 * a server may ignore an `Upgrade` (RFC 9110 section 7.8), and some clients offer `h2c` with each request. Node 20 gives
 * every such request to the `upgrade` listener once there is one, so the head is put back in front of what follows,
 * without the offer, and the socket is given to the server again. The connection ends with the answer, because each round
 * leaves the listeners of the one before on the socket; what is pipelined behind such a request is refused.
 */
export function answerWithoutUpgrade(server: Server, req: IncomingMessage, socket: Duplex, rest: Buffer): void {
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`]
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const [name, value] = [req.rawHeaders[i]!, req.rawHeaders[i + 1]!]
    if (!HOP_HEADERS.includes(name.toLowerCase())) lines.push(`${name}: ${value}`)
  }
  lines.push('Connection: close')
  // Node reads header values as latin1.
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), rest]))
  server.emit('connection', socket)
}
