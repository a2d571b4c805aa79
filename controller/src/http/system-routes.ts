import { AppError } from '@cliscale/contract'
import { Router } from 'express'
import type { JSONWebKeySet } from 'jose'
import { onlyMethods } from './problem.ts'

export interface SystemRoutesDeps {
  readonly jwks: () => JSONWebKeySet
  /** Resolves when the database answers. */
  readonly ping: () => Promise<void>
  readonly isDraining: () => boolean
  readonly openApi: object
}

/** Keys, probes and the description of the API; for everybody. */
export function systemRoutes(deps: SystemRoutesDeps): Router {
  const router = Router({ caseSensitive: true })
  router
    .route('/.well-known/jwks.json')
    .get((_req, res) => void res.set('Cache-Control', 'public, max-age=60').json(deps.jwks()))
    .all(onlyMethods('GET, HEAD'))
  router
    .route('/healthz')
    // Alive means that this process answers: a restart would not mend a database that is away.
    .get((_req, res) => void res.json({ status: 'ok' }))
    .all(onlyMethods('GET, HEAD'))
  router
    .route('/readyz')
    .get(async (_req, res) => {
      if (deps.isDraining()) throw new AppError('shutting_down', { detail: 'The server is shutting down.' })
      await deps.ping()
      res.json({ status: 'ok' })
    })
    .all(onlyMethods('GET, HEAD'))
  router
    .route('/openapi.json')
    .get((_req, res) => void res.set('Cache-Control', 'no-cache').json(deps.openApi))
    .all(onlyMethods('GET, HEAD'))
  return router
}
