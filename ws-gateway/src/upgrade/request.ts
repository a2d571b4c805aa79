/** Reads an upgrade request: what is wrong with it is an AppError, before anything is looked up or consumed. */
import type { IncomingMessage } from 'node:http'
import { AppError, BEARER_PROTOCOL_PREFIX, SESSION_ID_PATTERN, TTY_PROTOCOL, V1_PROTOCOL } from '@cliscale/contract'
import { findDuplicateHeader } from '@cliscale/service-kit'
import { viewerCookies } from '../http/viewer-cookie.ts'
import { acceptFor } from '../websocket-key.ts'

type Credential =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'cookie'; readonly cookies: ReadonlyMap<string, string> }

export interface UpgradeRequest {
  readonly sessionId: string
  readonly accept: string
  /** Subprotocols that the client offers, without its credential. */
  readonly offered: readonly string[]
  readonly credential: Credential
}

const HTTP_TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** @throws AppError naming what to change. */
export function readUpgradeRequest(req: IncomingMessage): UpgradeRequest {
  const [pathname, search] = splitOnce(req.url ?? '')
  const sessionId = /^\/ws\/([^/]+)$/.exec(pathname)?.[1] ?? ''
  if (!SESSION_ID_PATTERN.test(sessionId))
    throw new AppError('not_found', { detail: 'Check the address: a terminal is at /ws/{session id}.' })
  requireHandshake(req)
  const protocols = readProtocols(req.headers['sec-websocket-protocol'])
  const offered = protocols.filter((name) => !name.startsWith(BEARER_PROTOCOL_PREFIX))
  requireKnownProtocol(protocols, offered)
  const bearers = protocols.filter((name) => name.startsWith(BEARER_PROTOCOL_PREFIX))
  const credential = readCredential(req, new URLSearchParams(search), bearers)
  return { sessionId, accept: acceptFor(String(req.headers['sec-websocket-key'])), offered, credential }
}

function splitOnce(url: string): [string, string] {
  const at = url.indexOf('?')
  return at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)]
}

function requireHandshake(req: IncomingMessage): void {
  if (req.method !== 'GET')
    throw new AppError('method_not_allowed', { detail: 'A WebSocket is opened with GET.', headers: { Allow: 'GET' } })
  if (req.headers.upgrade?.toLowerCase() !== 'websocket')
    throw new AppError('upgrade_required', {
      detail: 'Only "Upgrade: websocket" is supported here.',
      headers: { Upgrade: 'websocket' },
    })
  if (req.headers['sec-websocket-version'] !== '13')
    throw new AppError('upgrade_required', {
      detail: 'Sec-WebSocket-Version must be 13.',
      headers: { Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' },
    })
  if (!/^[+/0-9A-Za-z]{21}[AQgw]==$/.test(req.headers['sec-websocket-key'] ?? ''))
    throw new AppError('bad_request', { detail: 'Sec-WebSocket-Key must be 16 bytes in base64.' })
  if (req.httpVersion !== '1.1') throw new AppError('bad_request', { detail: 'A WebSocket needs HTTP/1.1.' })
  if ((req.headers['content-length'] ?? '0') !== '0' || req.headers['transfer-encoding'] !== undefined)
    throw new AppError('bad_request', { detail: 'A request for a WebSocket must have no body.' })
  const duplicate = findDuplicateHeader(req)
  if (duplicate !== undefined)
    throw new AppError('duplicate_header', { detail: `The header ${duplicate} may be sent only once.` })
}

function readProtocols(header: string | undefined): readonly string[] {
  if (header === undefined) return []
  const names = header.split(',').map((name) => name.trim())
  if (!names.every((name) => HTTP_TOKEN.test(name)) || new Set(names).size !== names.length)
    throw new AppError('bad_request', {
      detail: 'Sec-WebSocket-Protocol must list different names, separated by commas.',
    })
  return names
}

function requireKnownProtocol(protocols: readonly string[], offered: readonly string[]): void {
  if (offered.includes('bearer'))
    throw new AppError('bad_request', {
      detail: `Send a token as one subprotocol, "${BEARER_PROTOCOL_PREFIX}<token>", beside "${V1_PROTOCOL}" or "${TTY_PROTOCOL}".`,
    })
  if (protocols.length > 0 && !offered.includes(V1_PROTOCOL) && !offered.includes(TTY_PROTOCOL))
    throw new AppError('bad_request', {
      detail: `Offer the subprotocol "${V1_PROTOCOL}" or "${TTY_PROTOCOL}": the answer must name one that was offered.`,
    })
}

function readCredential(req: IncomingMessage, query: URLSearchParams, bearers: readonly string[]): Credential {
  const tokens = [...query.getAll('token'), ...bearers.map((name) => name.slice(BEARER_PROTOCOL_PREFIX.length))]
  const [token] = tokens
  if (tokens.length > 1) throw new AppError('bad_request', { detail: 'The request has more than one token; send one.' })
  if (token !== undefined) return { kind: 'token', token }
  const cookies = viewerCookies(req.headers.cookie, query.get('viewer') ?? undefined)
  if (cookies.size > 0) return { kind: 'cookie', cookies }
  throw new AppError('token_invalid', {
    detail: "A token is required: ?token=…, or the viewer's cookie. Ask for one: POST /api/sessions/{id}/token.",
  })
}
