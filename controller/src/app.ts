import type { RequestListener } from 'node:http'
import type { Front, Logger } from '@cliscale/service-kit'
import express from 'express'
import { authenticate } from './http/authenticate.ts'
import { nothingHere, problemHandler } from './http/problem.ts'
import { requestLog } from './http/request-log.ts'
import { sessionRoutes } from './http/session-routes.ts'
import { systemRoutes, type SystemRoutesDeps } from './http/system-routes.ts'
import type { ApiKey } from './identity/api-keys.ts'
import type { Sessions } from './sessions/service.ts'

export interface AppDeps extends SystemRoutesDeps {
  readonly logger: Logger
  readonly front: Front
  readonly apiKeys: readonly ApiKey[]
  readonly sessions: Sessions
}

/** The public API as a listener for `createHttpServer`. Starts nothing and opens nothing. */
export function createApp(deps: AppDeps): RequestListener {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.enable('case sensitive routing')
  app.use(requestLog(deps.logger))
  app.use(systemRoutes(deps))
  app.use('/api', authenticate(deps.apiKeys))
  app.use(sessionRoutes(deps))
  app.use(nothingHere)
  app.use(problemHandler(deps.logger))
  return app
}
