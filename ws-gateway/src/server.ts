import http from 'node:http'
import type { Socket } from 'node:net'
import { AppError } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import { randomUUID } from 'node:crypto'
import type { Gateway } from './gateway.ts'
import { refuseUpgrade } from './http/problem.ts'

/** Longer than a Google front end keeps its idle connections (600 s): it, not we, closes them. */
const KEEP_ALIVE_MS = 620_000
const HEADERS_MS = 15_000

/**
 * An HTTP server for a gateway alone, not listening yet: its pages and upgrades, `/healthz` (that the process answers)
 * and `/readyz` (that it can open terminals).
 */
export function createGatewayServer(options: {
  gateway: Gateway
  logger: Logger
  /** Rejects while terminals cannot be opened. */
  isReady: () => Promise<void>
}): http.Server {
  const { gateway, logger } = options
  const server = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_MS }, (req, res) => {
    if (req.url === '/healthz') return answer(res, 200, 'ok')
    if (req.url !== '/readyz') return gateway.app(req, res)
    options.isReady().then(
      () => answer(res, 200, 'ready'),
      () => answer(res, 503, 'not ready'),
    )
  })
  server.on('upgrade', gateway.handleUpgrade)
  server.on('clientError', (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    refuseUpgrade({ socket, error: clientFault(error), requestId: randomUUID(), logger })
  })
  return server
}

function clientFault(error: NodeJS.ErrnoException): AppError {
  return error.code === 'HPE_HEADER_OVERFLOW'
    ? new AppError('headers_too_large', { detail: 'The head of a request may have 16 KiB.' })
    : new AppError('bad_request', { detail: 'The request is not HTTP/1.1.' })
}

function answer(res: http.ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'Content-Type': 'text/plain', 'Cache-Control': 'no-store' }).end(`${text}\n`)
}
