import { mkdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import type { RequestListener, Server } from 'node:http'
import { fileURLToPath } from 'node:url'
import {
  ConfigError,
  createHttpServer,
  createLogger,
  createPool,
  describeEnv,
  EXIT_CONFIG,
  installDrain,
  type Logger,
  parseEnv,
} from '@cliscale/service-kit'
import {
  createMetrics,
  expressRoute,
  type Metrics,
  type MetricsServer,
  poolMetrics,
  requestMetrics,
  startMetricsServer,
} from '@cliscale/service-kit/metrics'
import { z } from 'zod'
import { CONTROLLER_PROCESS_ENV, controllerSettings } from './config.ts'
import { createController } from './controller.ts'
import { findSchemaFault } from './db/schema-version.ts'
import { createLocalLauncher } from './launch/local.ts'
import { CONTROLLER_ROUTES, internalRoute } from './metrics.ts'
import { createSigner } from './tokens/signer.ts'

/** The controller as a process of its own: public API on one port, internal API on another. */
async function main(): Promise<void> {
  const schema = z.object(CONTROLLER_PROCESS_ENV)
  const env = parseEnv(schema, process.env)
  const dataDir = env.CLISCALE_DATA_DIR
  if (dataDir === undefined)
    throw new ConfigError(['CLISCALE_DATA_DIR is required: sessions run as processes of this machine'])
  const logger = createLogger({ service: 'controller', level: env.CLISCALE_LOG_LEVEL })
  logger.info({ settings: describeEnv(schema, env), node: process.version }, 'starting')

  const databaseUrl = env.CLISCALE_DATABASE_URL
  const max = env.CLISCALE_DATABASE_POOL_SIZE
  const pool = createPool({
    connectionString: databaseUrl,
    max,
    applicationName: 'cliscale-controller',
    logger,
    statementTimeoutMs: 7_000,
  })
  await refuseForeignSchema(pool)
  const metrics = createMetrics({ processDefaults: true })
  poolMetrics(metrics, pool)
  const metricsServer = await serveMetrics(metrics, env, logger)
  // Hosts that outlived the last process call as soon as the port is there, which the launcher must know first.
  let internalApp: RequestListener = (_req, res) => void res.writeHead(503, { 'Retry-After': '1' }).end()
  const internalServer = createHttpServer((req, res) => internalApp(req, res))
  const internalAddress = await listen(internalServer, env.CLISCALE_INTERNAL_PORT, env.CLISCALE_LISTEN_ADDRESS)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const launcher = await createLocalLauncher({
    dataDir,
    runDir: path.join(dataDir, 'run'),
    ...runnerPrograms(),
    controllerUrl: `http://127.0.0.1:${internalAddress.port}`,
    environment: { PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin', ...langOf(process.env) },
    logger,
  })
  const controller = createController({
    pool,
    databaseUrl,
    settings: controllerSettings(env, { localFolders: true }),
    signer: await createSigner(env.CLISCALE_SIGNING_KEY),
    launcher,
    logger,
    metrics,
  })
  const measured = requestMetrics(metrics, CONTROLLER_ROUTES)
  internalApp = measured(controller.internalApp, (req) => internalRoute(req.url))
  const server = createHttpServer(measured(controller.app, expressRoute))
  const address = await listen(server, env.CLISCALE_PORT, env.CLISCALE_LISTEN_ADDRESS)
  controller.start()
  logger.info({ port: address.port, internalPort: internalAddress.port }, 'listening')
  installDrain({
    logger,
    limitMs: env.CLISCALE_DRAIN_SECONDS * 1000,
    exit: (code) => process.exit(code),
    steps: [
      ['readiness', () => controller.beginDrain()],
      ['public server', () => close(server)],
      ['controller', () => controller.drain()],
      ['internal server', () => close(internalServer)],
      ['launcher', () => launcher.close()],
      ['metrics', () => metricsServer?.close()],
      ['pool', () => pool.end()],
    ],
  })
}

function serveMetrics(
  metrics: Metrics,
  env: { CLISCALE_METRICS_PORT?: number | undefined; CLISCALE_LISTEN_ADDRESS: string },
  logger: Logger,
): Promise<MetricsServer> | undefined {
  const { CLISCALE_METRICS_PORT: port, CLISCALE_LISTEN_ADDRESS: address } = env
  return port === undefined ? undefined : startMetricsServer({ metrics, port, address, logger })
}

/** @throws ConfigError when the database cannot be reached, or its schema is not one that this release works with. */
async function refuseForeignSchema(pool: ReturnType<typeof createPool>): Promise<void> {
  const fault = await findSchemaFault(pool).catch((error: unknown) => {
    const code = (error as { code?: string }).code ?? 'no answer'
    return `the database of CLISCALE_DATABASE_URL cannot be used (${code})`
  })
  if (fault !== undefined) throw new ConfigError([fault])
}

/** The two programs of a session lie beside this package; it only knows where. */
function runnerPrograms(): { hostProgram: string; workProgram: string } {
  const dist = new URL('../../runner/dist/programs/', import.meta.url)
  return {
    hostProgram: fileURLToPath(new URL('host/main.js', dist)),
    workProgram: fileURLToPath(new URL('work/main.js', dist)),
  }
}

function langOf(env: NodeJS.ProcessEnv): { LANG?: string } {
  return env['LANG'] === undefined ? {} : { LANG: env['LANG'] }
}

function listen(server: Server, port: number, host: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve(server.address() as AddressInfo)
    })
  })
}

/** Takes no new connections, closes idle ones, and waits for requests that are under way. */
function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof ConfigError ? error.message : ((error as Error).stack ?? String(error))}\n`)
  process.exit(error instanceof ConfigError ? EXIT_CONFIG : 1)
}
