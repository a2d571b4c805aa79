import { AppError, IDEMPOTENCY_KEY, LIMITS } from '@cliscale/contract'
import type { Front } from '@cliscale/service-kit'
import { type Request, type Response, Router } from 'express'
import type { Caller, Sessions } from '../sessions/service.ts'
import { contextOf, ownerOf } from './context.ts'
import { readJsonBody, readRequiredJsonBody } from './json-body.ts'
import { readListQuery } from './list-query.ts'
import { sendLog } from './log-stream.ts'
import { onlyMethods } from './problem.ts'

export interface SessionRoutesDeps {
  readonly sessions: Sessions
  readonly front: Front
}

/** `/api/sessions`, behind `authenticate`. */
export function sessionRoutes({ sessions, front }: SessionRoutesDeps): Router {
  const router = Router({ caseSensitive: true })
  router.param('id', (_req, res, next, id: string) => {
    contextOf(res).sessionId = id.slice(0, 36)
    next()
  })
  router
    .route('/api/sessions')
    .post(async (req, res) => {
      const caller = callerOf(front, req, res)
      const key = idempotencyKey(req)
      const { response, isReplay } = await sessions.create(caller, await readRequiredJsonBody(req), key)
      Object.assign(contextOf(res), { sessionId: response.sessionId, isReplay })
      if (isReplay) res.set('Idempotent-Replayed', 'true')
      res.status(201).location(`/api/sessions/${response.sessionId}`).json(response)
    })
    .get(async (req, res) => void res.json(await sessions.list(ownerOf(res), readListQuery(req))))
    .all(onlyMethods('GET, HEAD, POST'))
  router
    .route('/api/sessions/:id')
    .get(async (req, res) => void res.json(await sessions.get(ownerOf(res), req.params.id)))
    .delete(async (req, res) => void res.status(202).json(await sessions.stop(ownerOf(res), req.params.id)))
    .all(onlyMethods('DELETE, GET, HEAD'))
  router
    .route('/api/sessions/:id/token')
    .post(async (req, res) => {
      const body = await readJsonBody(req)
      res.status(201).json(await sessions.createToken(callerOf(front, req, res), req.params.id, body))
    })
    .all(onlyMethods('POST'))
  router
    .route('/api/sessions/:id/logs')
    .get(async (req, res) => sendLog(req, res, await sessions.output(ownerOf(res), req.params.id)))
    .all(onlyMethods('GET, HEAD'))
  return router
}

function callerOf(front: Front, req: Request, res: Response): Caller {
  const origin = front.base(req)
  if (origin === undefined)
    throw new AppError('bad_request', { detail: 'The header Host is not a host name with an optional port.' })
  return { owner: ownerOf(res), address: front.address(req), origin }
}

function idempotencyKey(req: Request): string | undefined {
  const key = req.headers['idempotency-key'] as string | undefined
  if (key === undefined) return undefined
  if (key.length <= LIMITS.idempotencyKeyChars && IDEMPOTENCY_KEY.test(key)) return key
  const fault = key.length > LIMITS.idempotencyKeyChars ? `got ${key.length}` : 'got other characters, or none'
  throw new AppError('idempotency_key_invalid', {
    detail: `Idempotency-Key must be 1 to ${LIMITS.idempotencyKeyChars} printable ASCII characters, ${fault}.`,
  })
}
