import { type Logger, requestIdOf } from '@cliscale/service-kit'
import type { RequestHandler } from 'express'
import type { RequestContext } from './context.ts'

const HEADERS = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
}

/**
 * Gives each request its id and its security headers, and writes one line when it is over. The line has the route's
 * pattern, never the address or the query, which may hold anything.
 */
export function requestLog(logger: Logger): RequestHandler {
  return (req, res, next) => {
    const startedAt = performance.now()
    const context: RequestContext = { requestId: requestIdOf(req) }
    res.locals['context'] = context
    res.set(HEADERS).set('X-Request-Id', context.requestId)
    res.once('close', () => {
      const route = (req.route as { path?: string } | undefined)?.path
      const line = {
        ...context,
        method: req.method,
        route: route ?? null,
        status: res.statusCode,
        durationMs: Math.round(performance.now() - startedAt),
        // Whether the client left before it had its answer.
        ...(res.writableFinished ? {} : { isAborted: true }),
      }
      const isProbe = route === '/healthz' || route === '/readyz'
      logger[isProbe && res.statusCode < 500 ? 'debug' : 'info'](line, 'request')
    })
    next()
  }
}
