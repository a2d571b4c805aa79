/** A gateway as a process of its own. */
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import {
  ConfigError,
  createLogger,
  createPool,
  describeEnv,
  EXIT_CONFIG,
  installDrain,
  parseEnv,
} from '@cliscale/service-kit'
import { createRemoteJWKSet } from 'jose'
import { z } from 'zod'
import { GATEWAY_PROCESS_ENV, gatewaySettings } from './config.ts'
import { createGateway } from './gateway.ts'
import { createGatewayServer } from './server.ts'

const schema = z.object(GATEWAY_PROCESS_ENV)

function readEnv(): z.infer<typeof schema> {
  try {
    return parseEnv(schema, process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(EXIT_CONFIG)
  }
}

const env = readEnv()
const logger = createLogger({ service: 'ws-gateway', level: env.CLISCALE_LOG_LEVEL })
const pool = createPool({
  connectionString: env.CLISCALE_DATABASE_URL,
  max: env.CLISCALE_DATABASE_POOL_SIZE,
  applicationName: 'cliscale-gateway',
  logger,
})
// Once for the process: it caches the keys, and asks again for an unknown one every 30 s at most.
const keys = createRemoteJWKSet(new URL(env.CLISCALE_JWKS_URL), {
  cooldownDuration: 30_000,
  cacheMaxAge: 600_000,
  timeoutDuration: 5_000,
})
const gateway = createGateway({
  ...gatewaySettings(env),
  pool,
  keys,
  logger,
  publicDir: fileURLToPath(new URL('../public', import.meta.url)),
})
let isDraining = false
const server = createGatewayServer({
  gateway,
  isReady: async () => {
    if (isDraining) throw new Error('draining')
    await pool.query('select 1')
  },
})
server.listen(env.CLISCALE_PORT, env.CLISCALE_LISTEN_ADDRESS)
await once(server, 'listening')
logger.info({ config: describeEnv(schema, env), address: server.address() }, 'listening')

installDrain({
  logger,
  limitMs: env.CLISCALE_DRAIN_SECONDS * 1000,
  steps: [
    ['readiness', () => void (isDraining = true)],
    ['terminals', () => gateway.drain()],
    ['gateway', () => gateway.close()],
    ['http', () => closeServer()],
    ['pool', () => pool.end()],
  ],
  exit: (code) => process.exit(code),
})

async function closeServer(): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  await closed
}
