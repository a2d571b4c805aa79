import type { RequestListener } from 'node:http'
import { AppError, type Reason } from '@cliscale/contract'
import { createFront, type Logger, withDeadline } from '@cliscale/service-kit'
import type { Metrics } from '@cliscale/service-kit/metrics'
import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose'
import type pg from 'pg'
import { createApp } from './app.ts'
import type { ControllerSettings } from './config.ts'
import { pruneExpired } from './db/prune.ts'
import { openApiDocument } from './http/openapi.ts'
import { createInternalApp } from './host-api/app.ts'
import { adoptSessions } from './identity/owner-store.ts'
import type { WatchStats } from './launch/kubernetes/resource-watch.ts'
import type { Launcher } from './launch/launcher.ts'
import { countCreations, countLaunches, createControllerMetrics, NO_METRICS } from './metrics.ts'
import type { ReconcilerTimings } from './reconcile/reconciler.ts'
import { createReconcilers } from './reconcile/reconcilers.ts'
import { openOrder } from './sessions/order-box.ts'
import { createSessions } from './sessions/service.ts'
import { createSessionSignals } from './sessions/signals.ts'
import type { Signer } from './tokens/signer.ts'

/** The caller owns the pool and the launcher, and closes them after `drain`. */
export interface ControllerDeps {
  readonly pool: pg.Pool
  /** Of the same database, for the one connection that listens. */
  readonly databaseUrl: string
  readonly settings: ControllerSettings
  readonly signer: Signer
  readonly launcher: Launcher
  readonly logger: Logger
  readonly now?: () => Date
  readonly reconcilerTimings?: Partial<ReconcilerTimings>
  /** How much later than a host the launcher may hear what was done to its launch; 0 when absent. */
  readonly faultPatienceMs?: number
  /** Where the controller counts what it does; undefined: nowhere. */
  readonly metrics?: Metrics
  /** What a launcher that watches a cluster tells of its watches. */
  readonly watchStats?: () => WatchStats | undefined
}

export interface Controller {
  /** Listener of the public API: /api, /.well-known, /healthz, /readyz, /openapi.json. */
  readonly app: RequestListener
  /** Listener of the internal API; never reachable from outside. */
  readonly internalApp: RequestListener
  jwks(): JSONWebKeySet
  /** For jose's `jwtVerify` in the same process. */
  readonly keys: JWTVerifyGetKey
  /** Begins to launch sessions and to watch them. */
  start(): void
  /** Readiness says 503 from now on; what was asked already is still answered. */
  beginDrain(): void
  /** Ends all sessions as `stopped` for this reason, within about `limitMs`. */
  stopAll(reason: Reason, limitMs: number): Promise<void>
  /** Stops watching and lets go of the database's listening connection. Sessions go on. Implies `beginDrain`. */
  drain(): Promise<void>
}

/** How long readiness waits for the database, in milliseconds. */
const PING_MS = 2_000

/** Puts the controller's parts together. Of these only the connection that listens is opened here. */
export function createController(deps: ControllerDeps): Controller {
  const { pool, logger, settings, signer } = deps
  const sources = { signingKeys: () => signer.jwks().keys.length, watch: deps.watchStats }
  const metrics = deps.metrics === undefined ? NO_METRICS : createControllerMetrics(deps.metrics, sources)
  const launcher = countLaunches(deps.launcher, metrics)
  const retentionSeconds = settings.retentionHours * 3600
  let isDraining = false
  const signals = createSessionSignals({ databaseUrl: deps.databaseUrl, logger })
  const reconciler = createReconcilers({
    pool,
    launchers: new Map([[null, launcher]]),
    logger,
    queueLimitSeconds: settings.queueLimitSeconds,
    retentionSeconds,
    prune: async () => (await pruneExpired(pool)) + (await adoptSessions(pool, settings.apiKeys)),
    metrics,
    ...(deps.reconcilerTimings && { timings: deps.reconcilerTimings }),
  })
  const internal = createInternalApp({
    pool,
    launcher,
    signals,
    logger,
    openOrder: (sessionId, ciphertext) => openOrder(settings.dataKey, sessionId, ciphertext),
    metrics,
    jwks: () => signer.hostJwks(),
    fetchPolicy: settings.fetchPolicy,
    outputMaxBytes: settings.sessionLogMaxBytes,
    retentionSeconds,
    ...(deps.faultPatienceMs !== undefined && { faultPatienceMs: deps.faultPatienceMs }),
  })
  const now = deps.now ?? (() => new Date())
  const app = createApp({
    logger,
    front: createFront(settings),
    apiKeys: settings.apiKeys,
    sessions: countCreations(createSessions({ pool, signer, settings, now, wake: () => reconciler.wake() }), metrics),
    jwks: () => signer.jwks(),
    ping: () => ping(pool),
    isDraining: () => isDraining,
    openApi: openApiDocument(),
  })
  return {
    app,
    internalApp: internal.handler,
    jwks: () => signer.jwks(),
    keys: signer.keys,
    start: () => reconciler.start(),
    beginDrain: () => void (isDraining = true),
    stopAll: (reason, limitMs) => reconciler.stopAll(reason, limitMs),
    drain: async () => {
      isDraining = true
      await reconciler.close()
      internal.close()
      await signals.close()
    },
  }
}

/** @throws AppError store_unavailable when the database does not answer in time. */
async function ping(pool: pg.Pool): Promise<void> {
  const detail = `The database did not answer within ${PING_MS / 1000} s.`
  const late = (): AppError => new AppError('store_unavailable', { detail, headers: { 'Retry-After': '5' } })
  await withDeadline(pool.query('select 1'), PING_MS, late)
}
