/** The gateway's HTTP side: the terminal page, its assets, and the trade of a link for a viewer's cookie. */
import path from 'node:path'
import { AppError, MAX_TOKEN_CHARS, SESSION_ID_PATTERN, type ViewerResponse } from '@cliscale/contract'
import { type Front, isOwnOrigin, type Logger, requestIdOf } from '@cliscale/service-kit'
import { expired } from '@cliscale/service-kit/tokens'
import express, { type Express, type Request, type RequestHandler, type Response } from 'express'
import { z } from 'zod'
import { statusOf } from '../attach/speaker.ts'
import type { Grant, Store } from '../store.ts'
import type { TokenVerifier } from '../tokens/verifier.ts'
import { problemHandler } from './problem.ts'
import { securityHeaders } from './security-headers.ts'
import { staticFile, staticFiles } from './static-files.ts'
import { createViewerSecret, findCookieViewer, viewerCookie, viewerCookies } from './viewer-cookie.ts'

export interface AppDeps {
  readonly store: Store
  readonly verifier: TokenVerifier
  readonly front: Front
  readonly logger: Logger
  /** Folder with terminal.html, landing.html and assets/, built from web/. */
  readonly publicDir: string
  readonly viewerTtlSeconds: number
  /** Origins whose pages may show ours in a frame. */
  readonly frameAncestors?: readonly string[]
}

const RedeemRequest = z.strictObject({ token: z.string().min(1).max(MAX_TOKEN_CHARS) })
const BODY_LIMIT_BYTES = 8 * 1024

/** Starts nothing and opens nothing. */
export function createApp(deps: AppDeps): Express {
  const app = express()
  app.disable('x-powered-by')
  app.enable('strict routing')
  app.enable('case sensitive routing')
  app.use(requestLine(deps.logger), securityHeaders(deps.frameAncestors ?? []))
  const files = staticFiles(deps.publicDir)
  app.use('/ws/assets', staticFiles(path.join(deps.publicDir, 'assets')), scriptOfAnotherBuild, notFound)
  app.route('/').get(landing(files)).all(only('GET, HEAD'))
  app.param('id', (_req, _res, next, id: string) => next(SESSION_ID_PATTERN.test(id) ? undefined : nothingHere()))
  app.route('/ws/:id').get(page(files)).all(only('GET, HEAD'))
  app
    .route('/ws/:id/redeem')
    .post(requireJson, express.json({ limit: BODY_LIMIT_BYTES, strict: false, inflate: false }), redeem(deps))
    .all(only('POST'))
  app.route('/ws/:id/viewer').get(viewer(deps)).all(only('GET, HEAD'))
  app.use(notFound)
  app.use(problemHandler(deps.logger))
  return app
}

function nothingHere(): AppError {
  return new AppError('not_found', { detail: 'Check the address: a terminal is at /ws/{session id}.' })
}

const notFound: RequestHandler = (_req, _res, next) => next(nothingHere())

function only(methods: string): RequestHandler {
  return (_req, _res, next) =>
    next(
      new AppError('method_not_allowed', { detail: `Only ${methods} is allowed here.`, headers: { Allow: methods } }),
    )
}

/** One line for each request; the path alone, because queries carry tokens. */
function requestLine(logger: Logger): RequestHandler {
  return (req, res, next) => {
    const requestId = requestIdOf(req)
    const startedAt = performance.now()
    res.locals['requestId'] = requestId
    res.set('X-Request-Id', requestId)
    const { method, path: pathname } = req
    res.once('close', () => {
      const durationMs = Math.round(performance.now() - startedAt)
      logger.info({ requestId, method, path: pathname, status: res.statusCode, durationMs }, 'request')
    })
    next()
  }
}

/**
 * While gateways are replaced, one may be asked for the script of a page that another build has served. The page is then
 * loaded again, until page and script come from the same build; a page without its script would stay blank.
 */
const scriptOfAnotherBuild: RequestHandler = (req, res, next) => {
  if (req.method !== 'GET' || !/^\/terminal-[A-Za-z0-9]{8}\.js$/.test(req.path)) return next()
  res.set('Cache-Control', 'no-store').type('js').send('setTimeout(() => location.reload(), 1000)\n')
}

/** The same bytes for every session and query: nothing of the request is in it. */
function page(files: RequestHandler): RequestHandler {
  const send = staticFile(files, 'terminal.html')
  return (req, res, next) => {
    // A WebSocket whose Upgrade header a proxy has dropped would be told 200 and a page.
    if (req.headers['sec-websocket-key'] !== undefined || req.headers['sec-websocket-version'] !== undefined) {
      const detail =
        'The request has WebSocket headers but no "Upgrade: websocket"; a proxy in between may have removed it.'
      return next(new AppError('upgrade_required', { detail, headers: { Upgrade: 'websocket' } }))
    }
    send(req, res, next)
  }
}

/** What stands at the address itself, for a person; a program that asks for JSON learns that nothing else does. */
function landing(files: RequestHandler): RequestHandler {
  const send = staticFile(files, 'landing.html')
  return (req, res, next) => {
    res.vary('Accept')
    if (req.accepts('html') === false) return next(nothingHere())
    send(req, res, next)
  }
}

const requireJson: RequestHandler = (req, _res, next) => {
  const hasBody = req.headers['content-length'] !== '0' && req.is('*/*') !== null
  if (!hasBody) return next(new AppError('body_required', { detail: 'Send {"token": "…"} as JSON.' }))
  if (!req.is('application/json'))
    return next(new AppError('unsupported_media_type', { detail: 'Send the body as application/json.' }))
  next()
}

function readToken(body: unknown): string {
  const parsed = RedeemRequest.safeParse(body)
  if (parsed.success) return parsed.data.token
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new AppError('body_not_object', { detail: 'Send {"token": "…"} as JSON.' })
  const unknown = parsed.error.issues.some((issue) => issue.code === 'unrecognized_keys')
  if (unknown) throw new AppError('unknown_field', { detail: 'The body must have one field, "token".' })
  throw new AppError('invalid_field', {
    detail: `"token" must be a string of 1 to ${MAX_TOKEN_CHARS} characters.`,
    errors: [{ path: 'token', message: `must be a string of 1 to ${MAX_TOKEN_CHARS} characters` }],
  })
}

function requireOwnOrigin(deps: AppDeps, req: Request): void {
  if (isOwnOrigin(deps.front, req, { missingIsOwn: true })) return
  throw new AppError('origin_refused', { detail: 'Open the link itself; other pages may not use it.' })
}

function redeem(deps: AppDeps): RequestHandler<{ id: string }> {
  return async (req, res) => {
    requireOwnOrigin(deps, req)
    const sessionId = req.params.id
    const claims = await deps.verifier.verify(readToken(req.body), sessionId)
    const { secret, hash } = createViewerSecret()
    const ttlSeconds = deps.viewerTtlSeconds
    const used = await deps.store.redeemToken({ jti: claims.jti, sessionId, secretHash: hash, ttlSeconds })
    if (used === undefined)
      throw new AppError('link_used', {
        detail: 'A link works once, in one browser. Ask whoever sent it for a new one: POST /api/sessions/{id}/token.',
      })
    if (!used.live) throw expired()
    const { grant } = used
    if (grant === undefined) throw new AppError('session_not_found', { detail: 'The session has been removed.' })
    const isSecure = deps.front.isSecure(req)
    res.append('Set-Cookie', viewerCookie({ viewer: grant.viewer, secret, isSecure, ttlSeconds }))
    sendViewer(res, grant)
  }
}

function viewer(deps: AppDeps): RequestHandler<{ id: string }> {
  return async (req, res) => {
    requireOwnOrigin(deps, req)
    const wanted = req.query['viewer']
    const cookies = viewerCookies(req.headers.cookie, typeof wanted === 'string' ? wanted : undefined)
    const grant = await findCookieViewer(deps.store, req.params.id, cookies)
    if (grant === undefined) throw await noViewer(deps.store, req.params.id)
    sendViewer(res, grant)
  }
}

/** That a session is there is no secret to who knows its id; nothing else is said of it. */
async function noViewer(store: Store, sessionId: string): Promise<AppError> {
  if ((await store.findSessions([sessionId])).size === 0)
    return new AppError('session_not_found', { detail: 'There is no such session, or it has been removed.' })
  return new AppError('token_invalid', { detail: 'This browser has no access to the session. Open a fresh link.' })
}

function sendViewer(res: Response, grant: Grant): void {
  const body: ViewerResponse = {
    sessionId: grant.session.id,
    viewer: grant.viewer,
    mode: grant.mode,
    ...statusOf(grant.session),
  }
  res.set('Cache-Control', 'no-store').json(body)
}
