import type { RequestListener, Server, ServerResponse } from 'node:http'
import { answerWithoutUpgrade, createHttpServer, offersWebSocket } from '@cliscale/service-kit'
import type { Gateway } from './gateway.ts'

/**
 * An HTTP server for a gateway alone, not listening yet: its pages and upgrades, `/healthz` (that the process answers)
 * and `/readyz` (that it can open terminals).
 */
export function createGatewayServer(options: {
  gateway: Gateway
  /** The gateway's app, as it is or measured. */
  app?: RequestListener
  /** Rejects while terminals cannot be opened. */
  isReady: () => Promise<void>
}): Server {
  const { gateway } = options
  const app = options.app ?? gateway.app
  const onRequest: RequestListener = (req, res) => {
    // A load balancer that keeps connections would meet a closed one later.
    if (gateway.isLeaving) res.setHeader('Connection', 'close')
    const pathname = req.url?.split('?', 1)[0]
    if (pathname === '/healthz') return answer(res, 200, 'ok')
    if (pathname !== '/readyz') return app(req, res)
    options.isReady().then(
      () => answer(res, 200, 'ready'),
      () => answer(res, 503, 'not ready'),
    )
  }
  const server = createHttpServer(onRequest, { answersHalfClosed: true })
  server.on('upgrade', (req, socket, head) => {
    if (offersWebSocket(req) || /^\/ws(\/|\?|$)/.test(req.url ?? '')) return gateway.handleUpgrade(req, socket, head)
    // Before anything else: a reset without a listener would end the process.
    socket.on('error', () => socket.destroy())
    answerWithoutUpgrade(server, req, socket, head)
  })
  return server
}

function answer(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'Content-Type': 'text/plain', 'Cache-Control': 'no-store' }).end(`${text}\n`)
}
