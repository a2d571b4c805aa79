import type { RequestListener } from 'node:http'
import {
  closeServer,
  ConfigError,
  createHttpServer,
  createLogger,
  createPool,
  describeEnv,
  EXIT_CONFIG,
  installDrain,
  listen,
  type Logger,
  parseEnv,
} from '@cliscale/service-kit'
import { expressRoute, requestMetrics, startMetrics } from '@cliscale/service-kit/metrics'
import { z } from 'zod'
import { CONTROLLER_PROCESS_ENV, controllerSettings, backendOf } from './config.ts'
import { createController } from './controller.ts'
import { findSchemaFault } from './db/schema-version.ts'
import { CONTROLLER_ROUTES, internalRoute } from './metrics.ts'
import { openBackend } from './backend.ts'
import { createStoreGate } from './store-gate.ts'
import { createFileSigner } from './tokens/key-file.ts'
import { createSigner, type Signer } from './tokens/signer.ts'

/** The controller as a process of its own: public API on one port, internal API on another. */
async function main(): Promise<void> {
  const schema = z.object(CONTROLLER_PROCESS_ENV)
  const env = parseEnv(schema, process.env)
  const backend = backendOf(env)
  const logger = createLogger({ service: 'controller', level: env.CLISCALE_LOG_LEVEL })
  logger.info({ settings: describeEnv(schema, env), node: process.version }, 'starting')

  const databaseUrl = env.CLISCALE_DATABASE_URL
  const pool = createPool({
    connectionString: databaseUrl,
    max: env.CLISCALE_DATABASE_POOL_SIZE,
    applicationName: 'cliscale-controller',
    logger,
    statementTimeoutMs: 7_000,
  })
  // On one machine a person is waiting for an answer; in a cluster the database may still be coming.
  const isChecked = backend.kind === 'machine'
  if (isChecked) await refuseForeignSchema(pool)
  const address = env.CLISCALE_LISTEN_ADDRESS
  const served = await startMetrics({ port: env.CLISCALE_METRICS_PORT, address, logger, pools: [pool] })
  const { metrics } = served
  // Hosts that outlived the last process call as soon as the port is there, which the launcher must know first.
  let internalApp: RequestListener = (_req, res) => void res.writeHead(503, { 'Retry-After': '1' }).end()
  const internalServer = createHttpServer((req, res) => internalApp(req, res))
  const internal = { port: env.CLISCALE_INTERNAL_PORT, address, setting: 'CLISCALE_INTERNAL_PORT' }
  const { port: internalPort } = await listen(internalServer, internal)
  const queueLimitSeconds = env.CLISCALE_QUEUE_LIMIT_SECONDS
  const opened = await openBackend({ backend, internalPort, queueLimitSeconds, logger, env: process.env })
  const signer = await openSigner(env.CLISCALE_SIGNING_KEY, logger)
  const { launcher, localFolders, images, ...told } = opened
  const settings = controllerSettings(env, { localFolders, images })
  const controller = createController({ pool, databaseUrl, settings, signer, launcher, logger, metrics, ...told })
  const gate = createStoreGate({ pool, logger, isChecked })
  const measured = requestMetrics(metrics, CONTROLLER_ROUTES)
  internalApp = measured(gate.guard(controller.internalApp), (req) => internalRoute(req.url))
  const server = createHttpServer(measured(gate.guard(controller.app), expressRoute), { answersHalfClosed: true })
  const { port } = await listen(server, { port: env.CLISCALE_PORT, address, setting: 'CLISCALE_PORT' })
  const limitMs = env.CLISCALE_DRAIN_SECONDS * 1000
  // The rest is for the pass of the reconciler that is under way.
  const requestsMs = limitMs / 3
  installDrain({
    logger,
    limitMs,
    exit: (code) => process.exit(code),
    steps: [
      ['readiness', () => controller.beginDrain()],
      ['database gate', () => gate.close()],
      ['public server', () => closeServer(server, requestsMs)],
      ['controller', () => controller.drain()],
      ['internal server', () => closeServer(internalServer, requestsMs)],
      ['launcher', () => launcher.close()],
      ['signing keys', () => signer.close()],
      ['metrics', () => served.close()],
      ['pool', () => pool.end()],
    ],
  })
  logger.info({ port, internalPort }, 'listening')
  if (!(await gate.opened())) return
  controller.start()
  logger.info('ready')
}

/** Follows the file that the keys are read from; keys in the environment stay what they are. */
async function openSigner(keys: readonly string[], logger: Logger): Promise<Signer & { close(): void }> {
  const file = process.env['CLISCALE_SIGNING_KEY_FILE']
  if (file) return createFileSigner({ file, logger })
  return { ...(await createSigner(keys)), close: () => undefined }
}

/** @throws ConfigError when the database cannot be reached, or its schema is not one that this release works with. */
async function refuseForeignSchema(pool: ReturnType<typeof createPool>): Promise<void> {
  const fault = await findSchemaFault(pool).catch((error: unknown) => {
    const code = (error as { code?: string }).code ?? 'no answer'
    return `the database of CLISCALE_DATABASE_URL cannot be used (${code})`
  })
  if (fault !== undefined) throw new ConfigError([fault])
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof ConfigError ? error.message : ((error as Error).stack ?? String(error))}\n`)
  process.exit(error instanceof ConfigError ? EXIT_CONFIG : 1)
}
