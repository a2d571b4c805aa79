/** Metrics in the text format of Prometheus. A subpath of its own: what has no metrics does not load prom-client. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import * as prom from 'prom-client'
import { createHttpServer } from './http.ts'
import { listen } from './listen.ts'
import type { Logger } from './logger.ts'

/** Names of labels, each with every value that it can have. So no label ever holds an id. */
export type Labels = Readonly<Record<string, readonly string[]>>
/** One value for each label. A value that is not in its list is counted as `other`. */
export type LabelValues<L extends Labels> = { readonly [K in keyof L]: L[K][number] }

export interface Describe<L extends Labels> {
  /** `cliscale_<thing>_<unit|total>` */
  readonly name: string
  /** One sentence without its full stop; docs/metrics.md is made of it. */
  readonly help: string
  readonly labels?: L
}
export interface Counter<L extends Labels> {
  add(values: LabelValues<L>, by?: number): void
}
export interface Histogram<L extends Labels> {
  observe(values: LabelValues<L>, seconds: number): void
}
/** What a metric is at the moment of a scrape; called for each scrape, so it reads memory and nothing else. */
export type Sample<L extends Labels> = () => Iterable<readonly [LabelValues<L>, number]>

/** What docs/metrics.md says of a metric. */
export interface MetricRow {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly labels: Labels
}

export interface Metrics {
  counter<const L extends Labels>(metric: Describe<L>): Counter<L>
  /** A counter that is kept elsewhere; it never becomes less. */
  sampledCounter<const L extends Labels>(metric: Describe<L>, sample: Sample<L>): void
  gauge<const L extends Labels>(metric: Describe<L>, sample: Sample<L>): void
  /** @param buckets upper bounds, in the unit of the name. */
  histogram<const L extends Labels>(metric: Describe<L>, buckets: readonly number[]): Histogram<L>
  /** All metrics of ours in the order they were made. */
  readonly rows: readonly MetricRow[]
  /** The exposition, and its content type. */
  expose(): Promise<{ readonly text: string; readonly contentType: string }>
}

/** Combinations of labels up to which a counter starts with zeros, so that a first fault is a rise from 0. */
const MAX_ZEROS = 40
const OTHER = 'other'

/** @param options.processDefaults also `process_*` and `nodejs_*`: for a process, not for a test. */
export function createMetrics(options: { processDefaults?: boolean } = {}): Metrics {
  const registry = new prom.Registry()
  if (options.processDefaults === true) prom.collectDefaultMetrics({ register: registry })
  const rows: MetricRow[] = []
  const describe = <L extends Labels>(type: string, { name, help, labels }: Describe<L>) => {
    rows.push({ name, type, help, labels: labels ?? {} })
    return { name, help: `${help}.`, labelNames: Object.keys(labels ?? {}), registers: [registry] }
  }
  return {
    counter: (metric) => {
      const counter = new prom.Counter(describe('counter', metric))
      const all = combinations(metric.labels ?? {})
      if (all.length <= MAX_ZEROS) for (const values of all) counter.inc(values, 0)
      return { add: (values, by = 1) => counter.inc(closed(metric.labels, values), by) }
    },
    sampledCounter: (metric, sample) => {
      const counter = new prom.Counter({
        ...describe('counter', metric),
        collect: () => {
          counter.reset()
          for (const [values, n] of sample()) counter.inc(closed(metric.labels, values), n)
        },
      })
    },
    gauge: (metric, sample) => {
      const gauge = new prom.Gauge({
        ...describe('gauge', metric),
        collect: () => {
          gauge.reset()
          for (const [values, n] of sample()) gauge.set(closed(metric.labels, values), n)
        },
      })
    },
    histogram: (metric, buckets) => {
      const histogram = new prom.Histogram({ ...describe('histogram', metric), buckets: [...buckets] })
      return { observe: (values, seconds) => histogram.observe(closed(metric.labels, values), seconds) }
    },
    rows,
    expose: async () => ({ text: await registry.metrics(), contentType: registry.contentType }),
  }
}

function closed(labels: Labels = {}, values: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(labels).map(([name, allowed]) => {
    const value = values[name] ?? OTHER
    return [name, allowed.includes(value) ? value : OTHER]
  })
  return Object.fromEntries(entries) as Record<string, string>
}

function combinations(labels: Labels): Record<string, string>[] {
  let all: Record<string, string>[] = [{}]
  for (const [name, values] of Object.entries(labels))
    all = all.flatMap((one) => values.map((value) => ({ ...one, [name]: value })))
  return all
}

export interface MetricsServer {
  readonly port: number
  close(): Promise<void>
}

/** The metrics of a process and of its pools, served where there is a port for it. The caller closes it. */
export async function startMetrics(options: {
  port: number | undefined
  address: string
  logger: Logger
  pools: readonly PoolCounts[]
}): Promise<{ readonly metrics: Metrics; close(): Promise<void> }> {
  const { pools, port } = options
  const metrics = createMetrics({ processDefaults: port !== undefined })
  poolMetrics(metrics, ...pools)
  const server = port === undefined ? undefined : await startMetricsServer({ ...options, metrics, port })
  return { metrics, close: async () => server?.close() }
}

/** Serves `GET /metrics` and nothing else on a port of its own. The caller closes it. */
export async function startMetricsServer(options: {
  metrics: Metrics
  port: number
  address: string
  logger: Logger
}): Promise<MetricsServer> {
  const { metrics, logger } = options
  const server = createHttpServer((req, res) => {
    serve(metrics, req, res).catch((err: unknown) => {
      logger.error({ err }, 'metrics could not be collected')
      if (!res.headersSent) answer(res, 500, 'The metrics could not be collected; the log says why.')
      else res.destroy()
    })
  })
  const { port } = await listen(server, { ...options, setting: 'CLISCALE_METRICS_PORT' })
  logger.info({ port }, 'metrics are served')
  return {
    port,
    close: async () => {
      const isClosed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await isClosed
    },
  }
}

async function serve(metrics: Metrics, req: IncomingMessage, res: ServerResponse): Promise<void> {
  req.resume()
  if (req.url?.split('?', 1)[0] !== '/metrics') return answer(res, 404, 'Only /metrics is served here.')
  if (req.method !== 'GET' && req.method !== 'HEAD') {
    res.setHeader('Allow', 'GET, HEAD')
    return answer(res, 405, 'Only GET and HEAD are allowed here.')
  }
  const { text, contentType } = await metrics.expose()
  res.writeHead(200, { 'Content-Type': contentType, 'Cache-Control': 'no-store' }).end(text)
}

function answer(res: ServerResponse, status: number, text: string): void {
  res.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' }).end(`${text}\n`)
}

/** Bounds for what a person waits for: from 5 ms to a minute. */
const REQUEST_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const

const METHODS = ['GET', 'HEAD', 'POST', 'DELETE', OTHER] as const
const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'aborted'] as const

/**
 * Counts and times requests. Returns how to wrap a listener: `routes` are the templates that it can answer, `routeOf`
 * says which one a request met, asked when the answer is over (Express: `req.route.path`).
 */
export function requestMetrics<const R extends readonly string[]>(
  metrics: Metrics,
  routes: R,
): (listener: RequestListener, routeOf: (req: IncomingMessage) => string | undefined) => RequestListener {
  const histogram = metrics.histogram(
    {
      name: 'cliscale_http_request_seconds',
      help: 'Time from a request to the end of its response, by route; requests that the client abandoned are `aborted`',
      labels: { route: [...routes, OTHER], method: METHODS, code: CLASSES },
    },
    REQUEST_BUCKETS,
  )
  return (listener, routeOf) => (req, res) => {
    const startedAt = performance.now()
    res.once('close', () => {
      const code = res.writableFinished ? `${Math.floor(res.statusCode / 100)}xx` : 'aborted'
      const values = { route: routeOf(req) ?? OTHER, method: req.method ?? OTHER, code }
      histogram.observe(values as never, (performance.now() - startedAt) / 1000)
    })
    listener(req, res)
  }
}

/** The template of the route that Express took for a request, also read from outside of it. */
export function expressRoute(req: IncomingMessage): string | undefined {
  const { route } = req as IncomingMessage & { route?: { path?: unknown } }
  return typeof route?.path === 'string' ? route.path : undefined
}

/** What a pool of connections to PostgreSQL tells of itself. */
interface PoolCounts {
  readonly totalCount: number
  readonly idleCount: number
  readonly waitingCount: number
}

/** Connections of all pools together, by what they do. `waiting` are not connections but those who wait for one. */
export function poolMetrics(metrics: Metrics, ...pools: readonly PoolCounts[]): void {
  const sum = (read: (pool: PoolCounts) => number): number => pools.reduce((total, pool) => total + read(pool), 0)
  metrics.gauge(
    {
      name: 'cliscale_database_connections',
      help: 'Connections to PostgreSQL that are in use or idle, and callers that wait for one',
      labels: { state: ['used', 'idle', 'waiting'] },
    },
    () => [
      [{ state: 'used' }, sum((pool) => pool.totalCount - pool.idleCount)],
      [{ state: 'idle' }, sum((pool) => pool.idleCount)],
      [{ state: 'waiting' }, sum((pool) => pool.waitingCount)],
    ],
  )
}
