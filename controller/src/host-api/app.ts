import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import {
  AppError,
  ClaimRequest,
  type FetchPolicy,
  MAX_OUTPUT_REPORT_BYTES,
  SESSION_ID_PATTERN,
  SessionEvent,
  type WorkOrder,
} from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import type pg from 'pg'
import type { BackendName, Identified, Launcher } from '../launch/launcher.ts'
import type { ControllerMetrics } from '../metrics.ts'
import { claimSession, markStarted } from '../sessions/claim.ts'
import { applyReport } from '../sessions/lifecycle.ts'
import { appendOutput } from '../sessions/output.ts'
import { findRow, type SessionRow } from '../sessions/row.ts'
import type { SessionSignals } from '../sessions/signals.ts'
import { type ControlStreams, createControlStreams } from './control.ts'
import { createReportCredential, matchesCredential, sessionOfCredential, sha256 } from './credential.ts'
import { correctEnd } from './correct-end.ts'
import { bearer, outputHeaders, outputTimes, readBody, readJson, sendEmpty, sendJson, sendProblem } from './http.ts'

export interface InternalAppDeps {
  readonly pool: pg.Pool
  /**
   * Says who a token's holder is. Each launcher has an internal API of its own: a token that was shown to several could be
   * used by any of them.
   */
  readonly launcher: Launcher
  /** Only sessions of this one, the launcher's own, can be claimed; the default one when absent. */
  readonly backend?: BackendName
  readonly signals: SessionSignals
  readonly logger: Logger
  /** Opens a work order. Throws when it was not sealed for this session. */
  readonly openOrder: (sessionId: string, ciphertext: Buffer) => WorkOrder
  /** The public keys, as JWKS. */
  readonly jwks: () => unknown
  readonly fetchPolicy: FetchPolicy
  /** Output kept of one session, in bytes. */
  readonly outputMaxBytes: number
  /** How long an ended session is kept. */
  readonly retentionSeconds: number
  readonly now?: () => Date
  readonly pingMs?: number
  /** How much later than a host the launcher may hear what was done to its launch, in milliseconds; 0 when absent. */
  readonly faultPatienceMs?: number
  readonly metrics?: ControllerMetrics
}

/** The internal API (contract/src/internal.ts) as a request listener. It owns the control streams; the caller closes it. */
export interface InternalApp {
  readonly handler: RequestListener
  readonly controlStreams: ControlStreams
  /** Ends the control streams; hosts come back to whoever listens next. */
  close(): void
}

/**
 * Makes the internal API. Hosts tell apart: 401 the credential opens nothing (of this session); 404 there is nothing to
 * run (ended, or stopped before it began): leave quietly; 409 another launch holds the session.
 */
export function createInternalApp(deps: InternalAppDeps): InternalApp {
  const controlStreams = createControlStreams(deps)
  const handler: RequestListener = (request, response) => {
    route(deps, controlStreams, request, response).catch((error: unknown) =>
      sendProblem(deps.logger, request, response, error),
    )
  }
  return { handler, controlStreams, close: () => controlStreams.close() }
}

async function route(
  deps: InternalAppDeps,
  controlStreams: ControlStreams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0]!
  const [, sessionId = '', part = ''] = /^\/internal\/sessions\/([^/]+)\/([a-z]+)$/.exec(path) ?? []
  switch (`${request.method} ${part === '' ? path : part}`) {
    case 'POST /internal/claim':
      return claim(deps, request, response)
    case 'POST /internal/started':
      return started(deps, request, response)
    case 'GET /internal/jwks.json':
      return sendJson(response, deps.jwks())
    case 'POST events':
      return events(deps, sessionId, request, response)
    case 'POST output':
      return output(deps, sessionId, request, response)
    case 'GET control':
      await authenticate(deps, request, sessionId)
      return controlStreams.open(sessionId, response)
    default:
      throw new AppError('not_found', { detail: 'The internal API has no such call.' })
  }
}

async function claim(deps: InternalAppDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const token = bearer(request)
  const { nonce } = await readJson(request, ClaimRequest, 4096)
  const launched = await identify(deps, token)
  if (launched === undefined) throw unauthorized('The launch identity is not known.')
  const { credential, hash } = createReportCredential(launched.sessionId)
  const hashes = { nonce: sha256(nonce), credential: hash }
  const result = await claimSession(deps.pool, deps.backend ?? null, launched, hashes)
  if (result.outcome === 'nothing') throw nothingToRun()
  if (result.outcome === 'conflict')
    throw new AppError('claim_conflict', { detail: 'Another launch holds this session.' })
  const order = result.ciphertext === null ? null : await unseal(deps, launched.sessionId, result.ciphertext)
  sendJson(response, { ...result.claim, reportCredential: credential, order, fetchPolicy: deps.fetchPolicy })
}

/** Who holds a launch identity. @throws AppError launcher_unavailable when that can't be told now. */
async function identify(deps: InternalAppDeps, token: string): Promise<Identified | undefined> {
  try {
    return await deps.launcher.identify(token)
  } catch (cause) {
    if ((cause as Error).name !== 'LauncherUnavailable') throw cause
    throw new AppError('launcher_unavailable', {
      detail: 'The caller cannot be authenticated right now: the cluster does not answer. Try again.',
      headers: { 'retry-after': '2' },
      cause,
    })
  }
}

/** An order that can't be opened (the data key was changed) never can be: the session ends, and says why. */
async function unseal(deps: InternalAppDeps, sessionId: string, ciphertext: Buffer): Promise<WorkOrder> {
  try {
    return deps.openOrder(sessionId, ciphertext)
  } catch (err) {
    deps.logger.error({ err, sessionId }, 'the work order cannot be decrypted')
    const detail = 'What the session was to run can no longer be read. Start the session again.'
    const end = { type: 'ended', status: 'failed', reason: 'internal', detail, exitCode: null, signal: null } as const
    const now = deps.now?.() ?? new Date()
    await report(deps, sessionId, { ...end, at: now.toISOString() }, now)
    throw nothingToRun()
  }
}

async function started(deps: InternalAppDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { id: sessionId } = await authenticate(deps, request)
  // Confirmed only for a session that goes on: after this the user's command runs.
  if (!(await markStarted(deps.pool, sessionId))) throw nothingToRun()
  sendEmpty(response)
}

async function events(
  deps: InternalAppDeps,
  sessionId: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pod_uid: launchId } = await authenticate(deps, request, sessionId)
  const event = await readJson(request, SessionEvent, 64 * 1024)
  const launch = { sessionId, launchId }
  const corrected =
    event.type === 'ended' ? await correctEnd(deps.launcher, launch, event, deps.faultPatienceMs) : event
  await report(deps, sessionId, corrected, deps.now?.() ?? new Date())
  sendEmpty(response)
}

async function report(deps: InternalAppDeps, sessionId: string, event: SessionEvent, now: Date): Promise<void> {
  const { retentionSeconds, metrics, pool } = deps
  const { ended, startedAfterSeconds } = await applyReport(pool, sessionId, event, { retentionSeconds, now })
  if (ended) metrics?.sessionEnded(ended.status, ended.reason)
  if (startedAfterSeconds !== undefined) metrics?.sessionStarted(startedAfterSeconds)
}

async function output(
  deps: InternalAppDeps,
  sessionId: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  await authenticate(deps, request, sessionId)
  const layout = outputHeaders(request)
  const bytes = await readBody(request, MAX_OUTPUT_REPORT_BYTES)
  const chunk = { ...layout, bytes, times: outputTimes(request, bytes.length) }
  sendJson(response, { next: await appendOutput(deps.pool, sessionId, chunk, deps.outputMaxBytes) })
}

/** The session that the report credential opens; with `expected` it must be that one. */
async function authenticate(deps: InternalAppDeps, request: IncomingMessage, expected?: string): Promise<SessionRow> {
  const credential = bearer(request)
  const sessionId = sessionOfCredential(credential)
  const refused = unauthorized('The report credential does not open this session.')
  if (sessionId === undefined || !SESSION_ID_PATTERN.test(sessionId)) throw refused
  if (expected !== undefined && sessionId !== expected) throw refused
  const row = await findRow(deps.pool, sessionId)
  if (row === undefined || !matchesCredential(credential, row.report_credential_hash)) throw refused
  return row
}

function unauthorized(detail: string): AppError {
  return new AppError('unauthorized', { detail, headers: { 'www-authenticate': 'Bearer' } })
}

function nothingToRun(): AppError {
  return new AppError('session_not_found', {
    detail: 'There is nothing to run: the session has ended or is being stopped.',
  })
}
