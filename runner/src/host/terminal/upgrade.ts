import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { AppError, TTY_PROTOCOL, V1_PROTOCOL } from '@cliscale/contract'
import { answerSocket, bearerOf, requestIdOf } from '@cliscale/service-kit'

/** What a client may send before its assertion is checked. */
const MAX_EARLY_BYTES = 64 * 1024

/** Answers an upgrade by a problem document instead of 101 and closes. */
export function refuse(req: IncomingMessage, socket: Duplex, error: unknown): void {
  answerSocket(socket, error, requestIdOf(req))
}

/** What is wrong with an upgrade's head, before anybody asks who it is. */
export function upgradeFault(req: IncomingMessage): AppError | undefined {
  const path = (req.url ?? '').split('?')[0]
  if (path !== '/ws' && path !== '/') return new AppError('not_found', { detail: 'The terminal is at /ws.' })
  if (req.method !== 'GET') return new AppError('method_not_allowed', { detail: 'An upgrade must be a GET.' })
  if (req.headers.upgrade?.toLowerCase() !== 'websocket' || req.headers['sec-websocket-version'] !== '13') {
    const headers = { 'Sec-WebSocket-Version': '13', Upgrade: 'websocket' }
    return new AppError('upgrade_required', { detail: 'Ask for WebSocket version 13.', headers })
  }
  const key = req.headers['sec-websocket-key']
  if (key === undefined || !/^[+/0-9A-Za-z]{22}==$/.test(key))
    return new AppError('bad_request', { detail: 'Sec-WebSocket-Key must be 16 bytes in base64.' })
  const offer = req.headers['sec-websocket-protocol']
  if (offer !== undefined && chooseProtocol(offer.split(',').map((p) => p.trim())) === undefined) {
    return new AppError('bad_request', {
      detail: `Sec-WebSocket-Protocol must offer ${V1_PROTOCOL} or ${TTY_PROTOCOL}.`,
    })
  }
  return undefined
}

/** The best protocol of an offer. */
export function chooseProtocol(offer: Iterable<string>): string | undefined {
  const offered = new Set(offer)
  return [V1_PROTOCOL, TTY_PROTOCOL].find((protocol) => offered.has(protocol))
}

/** The assertion of an upgrade. @throws AppError `unauthorized` when there is none. */
export function assertionOf(req: IncomingMessage): string {
  const assertion = bearerOf(req)
  if (assertion !== undefined) return assertion
  throw new AppError('unauthorized', {
    detail: 'Send the attach assertion as "Authorization: Bearer".',
    headers: { 'WWW-Authenticate': 'Bearer' },
  })
}

/**
 * Keeps reading a socket while something about it is awaited, so that a client that leaves is noticed (a socket that
 * nobody reads shows neither FIN nor RST). `release` gives the bytes that came, or undefined when the client is gone.
 */
export function holdSocket(socket: Duplex, head: Buffer): { release(): Buffer | undefined } {
  const early: Buffer[] = head.length > 0 ? [head] : []
  let bytes = head.length
  const onData = (chunk: Buffer): void => {
    early.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_EARLY_BYTES) socket.pause()
  }
  const onEnd = (): void => void socket.destroy()
  socket.on('data', onData)
  socket.once('end', onEnd)
  return {
    release: () => {
      socket.off('data', onData)
      socket.off('end', onEnd)
      return socket.destroyed ? undefined : Buffer.concat(early)
    },
  }
}
