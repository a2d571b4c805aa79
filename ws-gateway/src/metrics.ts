/** What the gateway counts and times; the names are a contract with dashboards and alerts (ADR 0009). */
import { type ErrorCode, ERRORS } from '@cliscale/contract'
import type { Metrics } from '@cliscale/service-kit/metrics'

/** Templates of every route that the gateway can answer. */
export const GATEWAY_ROUTES = ['/', '/ws/:id', '/ws/:id/redeem', '/ws/:id/viewer'] as const

/** Why a terminal's connection ended: who left first, or what the gateway closed it for. */
export const CLOSE_CAUSES = [
  'client',
  'pod',
  'stalled',
  'drain',
  'session_gone',
  'target_refused',
  'pod_401',
  'replayed',
  'replay_failed',
] as const
export type CloseCause = (typeof CLOSE_CAUSES)[number]

/** Why a pod did not open its terminal. */
export const DIAL_FAULTS = ['unreachable', 'timeout', 'refused', 'bad_answer'] as const
export type DialFault = (typeof DIAL_FAULTS)[number]

/** Told by the gateway's parts what they do; none of it throws. */
export interface GatewayMetrics {
  /** @param seconds from the viewer's 101 until its pod spoke. */
  podReady(seconds: number): void
  dialFailed(fault: DialFault): void
  closed(cause: CloseCause): void
}

const OPEN_STATES = ['waiting', 'dialling', 'spliced', 'replaying', 'closing'] as const
/** What the gateway does with an open connection of a viewer. */
export type OpenState = (typeof OPEN_STATES)[number]

export interface GatewayStats {
  /** Upgrades in progress. */
  readonly pending: number
  /** Terminals that are open now, by state. */
  readonly open: Readonly<Record<OpenState, number>>
  /** Since the start: upgrades answered with 101. */
  readonly accepted: number
  /** Since the start: upgrades refused, by code. */
  readonly refused: Readonly<Partial<Record<ErrorCode, number>>>
  /** Since the start: bytes from and to viewers, of terminals that are open and of those that were. */
  readonly bytesIn: number
  readonly bytesOut: number
}

/** For a gateway whose metrics nobody asks for. */
export const NO_METRICS: GatewayMetrics = { podReady: () => {}, dialFailed: () => {}, closed: () => {} }

const READY_SECONDS = [0.01, 0.05, 0.1, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600] as const

/** @param stats of the gateway that is told these metrics; asked at each scrape. */
export function createGatewayMetrics(metrics: Metrics, stats: () => GatewayStats): GatewayMetrics {
  statsMetrics(metrics, stats)
  const ready = metrics.histogram(
    {
      name: 'cliscale_ws_pod_ready_seconds',
      help: 'Time from the 101 of a viewer until the terminal of its session answered',
    },
    READY_SECONDS,
  )
  const dials = metrics.counter({
    name: 'cliscale_ws_dial_failures_total',
    help: 'Failed attempts to reach the terminal of a session, by fault; each is tried again',
    labels: { fault: DIAL_FAULTS },
  })
  const closed = metrics.counter({
    name: 'cliscale_ws_closed_total',
    help: 'Closed connections of viewers, by who left first or why the gateway closed them',
    labels: { cause: CLOSE_CAUSES },
  })
  return {
    podReady: (seconds) => ready.observe({}, seconds),
    dialFailed: (fault) => dials.add({ fault }),
    closed: (cause) => closed.add({ cause }),
  }
}

function statsMetrics(metrics: Metrics, stats: () => GatewayStats): void {
  metrics.gauge(
    {
      name: 'cliscale_ws_open',
      help: 'Open connections of viewers, by what the gateway does with them',
      labels: { state: OPEN_STATES },
    },
    () => OPEN_STATES.map((state) => [{ state }, stats().open[state]]),
  )
  metrics.gauge({ name: 'cliscale_ws_pending', help: 'Upgrades in progress' }, () => [[{}, stats().pending]])
  metrics.sampledCounter({ name: 'cliscale_ws_accepted_total', help: 'Upgrades accepted with 101' }, () => [
    [{}, stats().accepted],
  ])
  metrics.sampledCounter(
    {
      name: 'cliscale_ws_refused_total',
      help: 'Upgrades refused, by the error code of docs/errors.md',
      labels: { code: Object.keys(ERRORS) as ErrorCode[] },
    },
    () => Object.entries(stats().refused).map(([code, n]) => [{ code: code as ErrorCode }, n]),
  )
  metrics.sampledCounter(
    {
      name: 'cliscale_ws_bytes_total',
      help: 'Bytes of terminals, framing included: `in` from viewers, `out` to them',
      labels: { direction: ['in', 'out'] },
    },
    () => [
      [{ direction: 'in' }, stats().bytesIn],
      [{ direction: 'out' }, stats().bytesOut],
    ],
  )
}

/** Counts how often the controller's public keys could not be had. */
export function keyMetrics(metrics: Metrics): { fetchFailed(): void } {
  const failures = metrics.counter({
    name: 'cliscale_jwks_fetch_failures_total',
    help: 'Failed attempts to fetch the public keys of the controller',
  })
  return { fetchFailed: () => failures.add({}) }
}
