/** A gateway as a process of its own. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import {
  closeServer,
  ConfigError,
  createLogger,
  createPool,
  describeEnv,
  EXIT_CONFIG,
  installDrain,
  listen,
  parseEnv,
} from '@cliscale/service-kit'
import { expressRoute, requestMetrics, startMetrics } from '@cliscale/service-kit/metrics'
import { drainFault, gatewayProcessSchema, gatewaySettings } from './config.ts'
import { createGateway } from './gateway.ts'
import { GATEWAY_ROUTES, keyMetrics } from './metrics.ts'
import { createReadiness } from './readiness.ts'
import { createGatewayServer } from './server.ts'
import { createRemoteKeys } from './tokens/remote-keys.ts'

/** For requests that are under way when the gateway ends. */
const REQUESTS_MS = 2_000

async function main(): Promise<void> {
  const env = parseEnv(gatewayProcessSchema, process.env)
  const fault = drainFault(env)
  if (fault !== undefined) throw new ConfigError([fault])
  const logger = createLogger({ service: 'ws-gateway', level: env.CLISCALE_LOG_LEVEL })
  const pool = createPool({
    connectionString: env.CLISCALE_DATABASE_URL,
    max: env.CLISCALE_DATABASE_POOL_SIZE,
    applicationName: 'cliscale-gateway',
    logger,
  })
  const address = env.CLISCALE_LISTEN_ADDRESS
  const served = await startMetrics({ port: env.CLISCALE_METRICS_PORT, address, logger, pools: [pool] })
  const { metrics } = served
  const ofKeys = keyMetrics(metrics)
  const keys = createRemoteKeys(new URL(env.CLISCALE_JWKS_URL), () => ofKeys.fetchFailed())
  const gateway = createGateway({
    ...gatewaySettings(env),
    podNetworks: env.CLISCALE_POD_NETWORKS,
    pool,
    keys: keys.find,
    logger,
    metrics,
    publicDir: fileURLToPath(new URL('../public', import.meta.url)),
  })
  const measured = requestMetrics(metrics, GATEWAY_ROUTES)
  const server = createGatewayServer({
    gateway,
    app: measured(gateway.app, expressRoute),
    isReady: createReadiness({ gateway, checks: [() => pool.query('select 1'), () => keys.haveBeenHad()] }),
  })
  const listening = await listen(server, { port: env.CLISCALE_PORT, address, setting: 'CLISCALE_PORT' })
  installDrain({
    logger,
    limitMs: env.CLISCALE_DRAIN_SECONDS * 1000,
    steps: [
      ['readiness', () => gateway.beginDrain()],
      ['lame duck', () => sleep(env.CLISCALE_LAME_DUCK_SECONDS * 1000)],
      ['terminals', () => gateway.drain()],
      ['gateway', () => gateway.close()],
      ['http', () => closeServer(server, REQUESTS_MS)],
      ['metrics', () => served.close()],
      ['pool', () => pool.end()],
    ],
    exit: (code) => process.exit(code),
  })
  logger.info({ config: describeEnv(gatewayProcessSchema, env), address: listening }, 'listening')
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof ConfigError ? error.message : ((error as Error).stack ?? String(error))}\n`)
  process.exit(error instanceof ConfigError ? EXIT_CONFIG : 1)
}
