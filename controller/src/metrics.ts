/** What the controller counts and times; the names are a contract with dashboards and alerts (ADR 0009). */
import { FINAL_STATUSES, type FinalStatus, OPEN_STATUSES, type Reason, REASON_NAMES } from '@cliscale/contract'
import type { Metrics } from '@cliscale/service-kit/metrics'
import type { WatchStats } from './launch/kubernetes/resource-watch.ts'
import type { BackendName, Launcher } from './launch/launcher.ts'
import type { Sessions } from './sessions/service.ts'

/** Templates of every route that the controller can answer, public and internal. */
export const CONTROLLER_ROUTES = [
  '/api/sessions',
  '/api/sessions/:id',
  '/api/sessions/:id/token',
  '/api/sessions/:id/logs',
  '/.well-known/jwks.json',
  '/healthz',
  '/readyz',
  '/openapi.json',
  '/internal/claim',
  '/internal/started',
  '/internal/jwks.json',
  '/internal/sessions/:id/events',
  '/internal/sessions/:id/output',
  '/internal/sessions/:id/control',
] as const

/** The template of a path of the internal API, for `requestMetrics`. */
export function internalRoute(url = ''): string | undefined {
  return url.split('?', 1)[0]?.replace(/^\/internal\/sessions\/[^/]+\//, '/internal/sessions/:id/')
}

/** What happened to a launch: `unavailable` is neither, and is tried again. */
export type LaunchResult = 'ok' | 'failed' | 'unavailable'

/** One pass of the reconciler. */
export interface Pass {
  readonly seconds: number
  readonly isOk: boolean
}

/** Told by the controller's parts what they do; none of it throws. */
export interface ControllerMetrics {
  sessionCreated(): void
  sessionEnded(status: FinalStatus, reason: Reason | null): void
  /** @param seconds from creation to the start of the command. */
  sessionStarted(seconds: number): void
  launched(result: LaunchResult, seconds: number): void
  /** Something ran that belongs to no open session, and was removed. */
  orphanRemoved(): void
  passed(backend: BackendName, pass: Pass): void
  /** The open sessions of a backend that its last pass found, by status. */
  saw(backend: BackendName, statuses: Iterable<string>): void
  /** Why launches of a backend wait, as its last pass found it: one reason for each that does. */
  sawWaits(backend: BackendName, reasons: Iterable<Reason>): void
}

/** For a controller whose metrics nobody asks for. */
export const NO_METRICS: ControllerMetrics = {
  sessionCreated: () => {},
  sessionEnded: () => {},
  sessionStarted: () => {},
  launched: () => {},
  orphanRemoved: () => {},
  passed: () => {},
  saw: () => {},
  sawWaits: () => {},
}

const START_SECONDS = [0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600] as const
const WORK_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const

export interface ControllerMetricsSources {
  /** All that there are: one that never gets through a pass counts from the start. Only the default one when absent. */
  readonly backends?: Iterable<BackendName>
  /** How many signing keys are published. */
  readonly signingKeys: () => number
  /** undefined: the launcher watches nothing. */
  readonly watch?: (() => WatchStats | undefined) | undefined
  readonly now?: () => number
}

export function createControllerMetrics(metrics: Metrics, sources: ControllerMetricsSources): ControllerMetrics {
  const sessions = sessionMetrics(metrics)
  const reconciler = reconcilerMetrics(metrics, sources.backends ?? [null], sources.now ?? Date.now)
  watchMetrics(metrics, sources.watch ?? (() => undefined))
  metrics.gauge(
    {
      name: 'cliscale_signing_keys',
      help: 'Published signing keys: 1, and 2 while one is being replaced',
    },
    () => [[{}, sources.signingKeys()]],
  )
  return { ...sessions, ...reconciler }
}

type SessionPart = 'sessionCreated' | 'sessionEnded' | 'sessionStarted' | 'launched' | 'saw' | 'sawWaits'

function sessionMetrics(metrics: Metrics): Pick<ControllerMetrics, SessionPart> {
  const created = metrics.counter({ name: 'cliscale_sessions_created_total', help: 'Sessions created' })
  const ended = metrics.counter({
    name: 'cliscale_sessions_ended_total',
    help: 'Ended sessions, by status and reason; a success has the reason `none`',
    labels: { status: FINAL_STATUSES, reason: ['none', ...REASON_NAMES] },
  })
  const started = metrics.histogram(
    { name: 'cliscale_session_start_seconds', help: 'Time from the creation of a session to the start of its command' },
    START_SECONDS,
  )
  const launches = metrics.histogram(
    {
      name: 'cliscale_launch_seconds',
      help: 'Time to create one launch, by outcome; `unavailable` is tried again',
      labels: { result: ['ok', 'failed', 'unavailable'] },
    },
    WORK_SECONDS,
  )
  const open = new Map<BackendName, string[]>()
  const waits = new Map<BackendName, Reason[]>()
  metrics.gauge(
    {
      name: 'cliscale_sessions_open',
      help: 'Open sessions by status, of the whole system, as the last pass of this controller found them',
      labels: { status: OPEN_STATUSES },
    },
    () => {
      const counts = tally(open.values())
      return OPEN_STATUSES.map((status) => [{ status }, counts.get(status) ?? 0])
    },
  )
  metrics.gauge(
    {
      name: 'cliscale_sessions_waiting',
      help: 'Open sessions whose launch is stuck, by reason, as the last pass of this controller found them',
      labels: { reason: REASON_NAMES },
    },
    () => [...tally(waits.values())].map(([reason, n]) => [{ reason }, n]),
  )
  return {
    sessionCreated: () => created.add({}),
    sessionEnded: (status, reason) => ended.add({ status, reason: reason ?? 'none' }),
    sessionStarted: (seconds) => started.observe({}, seconds),
    launched: (result, seconds) => launches.observe({ result }, seconds),
    saw: (backend, statuses) => void open.set(backend, [...statuses]),
    sawWaits: (backend, reasons) => void waits.set(backend, [...reasons]),
  }
}

/** How often each word is in any of the lists. */
function tally<Word extends string>(lists: Iterable<readonly Word[]>): Map<Word, number> {
  const counts = new Map<Word, number>()
  for (const word of [...lists].flat()) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

/** Of several backends the one that is worst off is shown: it must not hide behind one that is well. */
function reconcilerMetrics(
  metrics: Metrics,
  backends: Iterable<BackendName>,
  now: () => number,
): Pick<ControllerMetrics, 'passed' | 'orphanRemoved'> {
  const startedAt = now()
  const lastOkAt = new Map([...backends].map((backend) => [backend, startedAt]))
  const failing = new Set<BackendName>()
  const passes = metrics.histogram(
    { name: 'cliscale_reconcile_seconds', help: 'Duration of one pass of the reconciler' },
    WORK_SECONDS,
  )
  metrics.gauge(
    {
      name: 'cliscale_reconcile_lag_seconds',
      help: 'Time since the last successful pass of the reconciler; passes are seconds apart',
    },
    () => [[{}, (now() - Math.min(...lastOkAt.values())) / 1000]],
  )
  metrics.gauge(
    { name: 'cliscale_reconcile_failing', help: '1 while the last pass of the reconciler failed, else 0' },
    () => [[{}, failing.size > 0 ? 1 : 0]],
  )
  const orphans = metrics.counter({
    name: 'cliscale_orphans_removed_total',
    help: 'Launches removed because they belong to no open session',
  })
  return {
    passed: (backend, { seconds, isOk }) => {
      passes.observe({}, seconds)
      if (!isOk) return void failing.add(backend)
      failing.delete(backend)
      lastOkAt.set(backend, now())
    },
    orphanRemoved: () => orphans.add({}),
  }
}

function watchMetrics(metrics: Metrics, watch: () => WatchStats | undefined): void {
  const sample = (read: (stats: WatchStats) => number) => () => {
    const stats = watch()
    return stats === undefined ? [] : [[{}, read(stats)] as const]
  }
  metrics.gauge(
    {
      name: 'cliscale_watch_silent_seconds',
      help: 'Time since the watch of the cluster last received anything, bookmarks included; absent where nothing is watched',
    },
    sample(({ silentMs }) => silentMs / 1000),
  )
  metrics.sampledCounter(
    {
      name: 'cliscale_watch_relists_total',
      help: 'Lists of the cluster: the first, and one after each watch that was lost or fell silent',
    },
    sample(({ relists }) => relists),
  )
}

/** The same sessions; each that is created is counted, a repeated request is not. */
export function countCreations(sessions: Sessions, metrics: ControllerMetrics): Sessions {
  return {
    ...sessions,
    create: async (...request) => {
      const created = await sessions.create(...request)
      if (!created.isReplay) metrics.sessionCreated()
      return created
    },
  }
}

/** The same launcher; each launch is counted and timed. */
export function countLaunches(launcher: Launcher, metrics: ControllerMetrics): Launcher {
  return {
    launch: async (request) => {
      const startedAt = performance.now()
      const done = (result: LaunchResult): void => metrics.launched(result, (performance.now() - startedAt) / 1000)
      try {
        await launcher.launch(request)
        done('ok')
      } catch (error) {
        done((error as Error).name === 'LauncherUnavailable' ? 'unavailable' : 'failed')
        throw error
      }
    },
    list: () => launcher.list(),
    refresh: () => launcher.refresh(),
    identify: (token) => launcher.identify(token),
    remove: (sessionId, launchId) => launcher.remove(sessionId, launchId),
    expectEnd: (sessionId) => launcher.expectEnd(sessionId),
    onChange: (listener) => launcher.onChange(listener),
    close: () => launcher.close(),
  }
}
