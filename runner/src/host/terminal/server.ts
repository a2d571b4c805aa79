import type { IncomingMessage, Server } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError, type AttachClaims, isAppError, MAX_CLIENT_MESSAGE_BYTES } from '@cliscale/contract'
import { createHttpServer, withDeadline } from '@cliscale/service-kit'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import type { TerminalLimits } from './limits.ts'
import { assertionOf, chooseProtocol, holdSocket, refuse, upgradeFault } from './upgrade.ts'

/** A message of 64 KiB has no need for more; ws closes with 1008 above it. */
const MAX_FRAGMENTS = 128
const KEEP_ALIVE_PROBE_MS = 30_000
/** Plain requests have nothing to find here, so their connections need not stay. */
const IDLE_MS = 5_000

export interface TerminalServerOptions {
  readonly listen: { readonly host: string; readonly port: number }
  readonly limits: TerminalLimits
  readonly verify: (assertion: string) => Promise<AttachClaims>
  /** Why one more viewer may not come in; undefined when it may. */
  readonly findRefusal: () => AppError | undefined
  /** A viewer whose upgrade is done. `onHalfClose` is called when its side sends FIN without a Close. */
  readonly onViewer: (socket: WebSocket, claims: AttachClaims) => { onHalfClose(): void }
}

export interface TerminalServer extends AsyncDisposable {
  readonly port: number
}

/** Listens for viewers. Disposing stops listening and cuts whatever is still connected. */
export async function startTerminalServer(options: TerminalServerOptions): Promise<TerminalServer> {
  const server = createHttpServer((req, res) => {
    // For whoever looks whether the event loop turns; it says nothing else.
    if (req.url === '/healthz') return void res.writeHead(200, { Connection: 'close' }).end()
    const found = ['/ws', '/'].includes((req.url ?? '').split('?')[0] as string)
    const headers = { Connection: 'close', ...(found ? { Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' } : {}) }
    res.writeHead(found ? 426 : 404, headers).end()
  })
  server.keepAliveTimeout = IDLE_MS
  const wsOptions: ServerOptions & { closeTimeout: number } = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_CLIENT_MESSAGE_BYTES,
    maxFragments: MAX_FRAGMENTS,
    // The viewer has a deadline of its own for each close; this one is only the backstop.
    closeTimeout: options.limits.silenceMs,
    handleProtocols: (offered) => chooseProtocol(offered) ?? false,
  }
  const wss = new WebSocketServer(wsOptions)
  const sockets = new Set<Duplex>()
  let pending = 0
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    const fault = upgradeFault(req) ?? (pending >= options.limits.pendingUpgrades ? tooMany() : undefined)
    if (fault) return refuse(req, socket, fault)
    pending++
    void attach(options, wss, req, socket, head).finally(() => pending--)
  })
  const port = await listen(server, options.listen)
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

async function attach(
  options: TerminalServerOptions,
  wss: WebSocketServer,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const held = holdSocket(socket, head)
  const claims = await verified(options, req).catch((error: unknown) => asAppError(error))
  const early = held.release()
  if (early === undefined) return
  if (isAppError(claims)) return refuse(req, socket, claims)
  const refusal = options.findRefusal()
  if (refusal) return refuse(req, socket, refusal)
  wss.handleUpgrade(req, socket, early, (ws) => {
    const viewer = options.onViewer(ws, claims)
    // Before the listener of ws, which would answer a FIN without a Close.
    socket.prependListener('end', () => viewer.onHalfClose())
    if (socket instanceof Socket) socket.setKeepAlive(true, KEEP_ALIVE_PROBE_MS)
    // It may have been paused for all that came early.
    socket.resume()
  })
}

async function verified(options: TerminalServerOptions, req: IncomingMessage): Promise<AttachClaims> {
  const detail = 'The assertion could not be checked in time. Try again.'
  const late = (): AppError => new AppError('keys_unavailable', { detail })
  return withDeadline(options.verify(assertionOf(req)), options.limits.verifyMs, late)
}

function asAppError(error: unknown): AppError {
  if (isAppError(error)) return error
  return new AppError('token_invalid', { detail: 'The attach assertion does not open this session.', cause: error })
}

/** The answer to one viewer too many. */
export function tooMany(): AppError {
  return new AppError('too_many_connections', {
    detail: 'The session already has the maximum number of viewers. Close one, or try again later.',
    headers: { 'Retry-After': '5' },
  })
}

async function listen(server: Server, at: { host: string; port: number }): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(at.port, at.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return (server.address() as AddressInfo).port
}
