import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError, type ErrorCode } from '@cliscale/contract'
import { type Front, isOwnOrigin, type Logger, requestIdOf, withDeadline } from '@cliscale/service-kit'
import { expired } from '@cliscale/service-kit/tokens'
import { HeldClient } from '../attach/held-client.ts'
import { chooseProtocol, type Protocol } from '../attach/speaker.ts'
import { refuseUpgrade } from '../http/problem.ts'
import { findCookieViewer } from '../http/viewer-cookie.ts'
import type { Grant, SessionState, Store } from '../store.ts'
import type { TokenVerifier } from '../tokens/verifier.ts'
import type { PendingUpgrades } from './pending.ts'
import { readUpgradeRequest, type UpgradeRequest } from './request.ts'

export interface UpgradeDeps {
  readonly store: Store
  readonly verifier: TokenVerifier
  readonly front: Front
  readonly pending: PendingUpgrades
  readonly logger: Logger
  /** From the request to its 101, in milliseconds. */
  readonly deadlineMs: number
  /** Bytes of a client that are kept until its pod is there. */
  readonly holdBytes: number
  /** `returning`: only viewers that come back; a one-time token would be spent on a terminal that is about to close. */
  readonly serving: () => 'all' | 'returning' | 'none'
  /** Takes over a client that has its 101. */
  readonly attach: (client: HeldClient, grant: Grant, protocol: Protocol) => void
  readonly onRefused: (code: ErrorCode) => void
}

export type UpgradeHandler = (req: IncomingMessage, socket: Duplex, head: Buffer) => void

/**
 * Answers upgrade requests, each with a 101 or with a problem document. The order is the point: handlers on the socket first, then what costs nothing, then the Origin, and only then what uses a token up.
 */
export function createUpgradeHandler(deps: UpgradeDeps): UpgradeHandler {
  return (req, duplex, head) => {
    const socket = duplex as Socket
    const client = new HeldClient(socket, head, deps.holdBytes)
    const requestId = requestIdOf(req)
    const address = deps.front.address(req)
    void admit(deps, req, client, address).then(
      (admitted) => {
        if (admitted === undefined || client.isGone) return
        socket.write(switchingProtocols(admitted.request, admitted.protocol))
        deps.attach(client, admitted.grant, admitted.protocol)
      },
      (error: unknown) => {
        client.release()
        const code = refuseUpgrade({ socket, error, requestId, logger: deps.logger })
        deps.onRefused(code)
        const pathname = (req.url ?? '').split('?', 1)[0]?.slice(0, 200)
        deps.logger.info({ requestId, path: pathname, code }, 'upgrade refused')
      },
    )
  }
}

interface Admitted {
  readonly request: UpgradeRequest
  readonly grant: Grant
  readonly protocol: Protocol
}

/** undefined when the client has left meanwhile. */
async function admit(
  deps: UpgradeDeps,
  req: IncomingMessage,
  client: HeldClient,
  address: string,
): Promise<Admitted | undefined> {
  requireServing(deps, 'returning')
  const leave = deps.pending.enter(address)
  try {
    const request = readUpgradeRequest(req)
    requireOrigin(deps.front, req, request)
    if (request.credential.kind !== 'cookie') requireServing(deps, 'all')
    const grant = await withDeadline(authenticate(deps, request, client), deps.deadlineMs, tooLate)
    if (grant === undefined || client.isGone) return undefined
    requireServing(deps, 'returning')
    return { request, grant, protocol: requireProtocol(request, grant.session.kind) }
  } finally {
    leave()
  }
}

function tooLate(): AppError {
  const detail = 'The token could not be checked in time. Try again in a moment.'
  return new AppError('store_unavailable', { detail, headers: { 'Retry-After': '5' } })
}

function requireProtocol({ offered }: UpgradeRequest, kind: SessionState['kind']): Protocol {
  const protocol = chooseProtocol(offered, kind)
  if (protocol !== undefined) return protocol
  throw new AppError('bad_request', { detail: 'This session speaks the subprotocol "tty" only; offer it.' })
}

function requireServing(deps: UpgradeDeps, whom: 'all' | 'returning'): void {
  const serving = deps.serving()
  if (serving === 'all' || serving === whom) return
  throw new AppError('shutting_down', {
    detail: 'This gateway is shutting down. Connect again to reach another.',
    headers: { 'Retry-After': '1' },
  })
}

function requireOrigin(front: Front, req: IncomingMessage, request: UpgradeRequest): void {
  // A cookie goes along from any page, so it alone must come with the name of ours. Programs send no Origin.
  if (isOwnOrigin(front, req, { missingIsOwn: request.credential.kind !== 'cookie' })) return
  throw new AppError('origin_refused', { detail: 'The Origin of the request is not the address of this server.' })
}

/** undefined when the client left before anything was consumed. */
async function authenticate(
  deps: UpgradeDeps,
  request: UpgradeRequest,
  client: HeldClient,
): Promise<Grant | undefined> {
  const { credential, sessionId } = request
  if (credential.kind === 'cookie') {
    const grant = await findCookieViewer(deps.store, sessionId, credential.cookies)
    if (grant) return grant
    throw new AppError('token_invalid', { detail: 'This browser has no access to the session. Open a fresh link.' })
  }
  const { jti } = await deps.verifier.verify(credential.token, sessionId)
  await requireUsable(deps, request)
  if (client.isGone) return undefined
  const used = await deps.store.consumeToken(jti, sessionId)
  if (used === undefined)
    throw new AppError('token_used', {
      detail: 'A token opens one terminal, once. Request a new one: POST /api/sessions/{id}/token.',
    })
  if (!used.live) throw expired()
  if (used.grant === undefined) throw new AppError('session_not_found', { detail: 'The session has been removed.' })
  return used.grant
}

/** What can be known before a token is used up: a client that is refused for it may come again with the same token. */
async function requireUsable(deps: UpgradeDeps, request: UpgradeRequest): Promise<void> {
  if (chooseProtocol(request.offered, 'ttyd') === undefined) {
    const { sessionId } = request
    const session = (await deps.store.findSessions([sessionId])).get(sessionId)
    if (session !== undefined) requireProtocol(request, session.kind)
  }
  // The keys may have taken their time, and a drain may have begun.
  requireServing(deps, 'all')
}

function switchingProtocols(request: UpgradeRequest, protocol: Protocol): string {
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${request.accept}`,
  ]
  // A client that offered nothing must be answered nothing.
  if (request.offered.length > 0) lines.push(`Sec-WebSocket-Protocol: ${protocol}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}
