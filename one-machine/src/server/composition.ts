import { chmod, rm } from 'node:fs/promises'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import type { Duplex } from 'node:stream'
import { AppError, STOP_LIMITS } from '@cliscale/contract'
import {
  CONTROLLER_ROUTES,
  type Controller,
  controllerSettings,
  createController,
  createLocalLauncher,
  createSigner,
  internalRoute,
  type LocalLauncherOptions,
  type Launcher,
} from '@cliscale/controller'
import {
  answerProblem,
  answerSocket,
  answerWithoutUpgrade,
  closeServer,
  createHttpServer,
  createPool,
  type Logger,
  offersWebSocket,
  requestIdOf,
} from '@cliscale/service-kit'
import { expressRoute, requestMetrics, startMetrics } from '@cliscale/service-kit/metrics'
import { createGateway, type Gateway, GATEWAY_ROUTES, gatewaySettings } from '@cliscale/ws-gateway'
import type { ServerStart } from '../server-messages.ts'
import type { ServerSettings } from '../settings.ts'
import { createHostCheck } from './host-check.ts'
import { packageDir, sessionPlaces } from './places.ts'

/** How long requests that are under way may take to end, in milliseconds. */
const REQUESTS_MS = 3_000

export interface Composition {
  readonly port: number
  /** Ends every session as `stopped`, then everything of ours in order. */
  stop(): Promise<void>
}

/**
 * Controller and gateway in one process behind one HTTP server on 127.0.0.1, and the internal API on a Unix socket.
 *
 * @throws the error of `listen`; ConfigError when the port of the metrics is taken. The process is to end then.
 */
export async function startComposition(options: {
  settings: ServerSettings
  start: ServerStart
  environment: LocalLauncherOptions['environment']
  logger: Logger
}): Promise<Composition> {
  const { settings, start, logger } = options
  const pool = databasePool(settings.CLISCALE_DATABASE_URL, 'cliscale-controller', options)
  const gatewayUrl = settings.CLISCALE_GATEWAY_DATABASE_URL ?? settings.CLISCALE_DATABASE_URL
  const gatewayPool = databasePool(gatewayUrl, 'cliscale-gateway', options)
  const served = await startMetrics({
    port: settings.CLISCALE_METRICS_PORT,
    address: '127.0.0.1',
    logger,
    pools: [pool, gatewayPool],
  })
  const { metrics } = served
  const measured = requestMetrics(metrics, [...CONTROLLER_ROUTES, ...GATEWAY_ROUTES])
  const launcher = await localLauncher(options)
  const controller = createController({
    pool,
    databaseUrl: settings.CLISCALE_DATABASE_URL,
    settings: controllerSettings(settings, { localFolders: true }),
    signer: await createSigner(settings.CLISCALE_SIGNING_KEY),
    launcher,
    logger,
    reconcilerTimings: { stopLimitMs: STOP_LIMITS.machineMs },
    metrics,
  })
  const gateway = createGateway({
    ...gatewaySettings(settings),
    // Sessions of this machine listen here and nowhere else.
    podNetworks: ['127.0.0.0/8'],
    pool: gatewayPool,
    keys: controller.keys,
    logger,
    metrics,
    publicDir: path.join(packageDir('@cliscale/ws-gateway'), 'public'),
  })
  const internalServer = createHttpServer(measured(controller.internalApp, (req) => internalRoute(req.url)))
  await listenOnSocket(internalServer, start.internalSocket)
  const front = new FrontDoor({ controller, gateway, publicUrl: settings.CLISCALE_PUBLIC_URL, measured })
  const port = await front.listen(settings.CLISCALE_PORT)
  controller.start()
  return {
    port,
    stop: async () => {
      controller.beginDrain()
      await front.refuseNew()
      await controller.stopAll('server_stopped', STOP_LIMITS.allMs)
      await gateway.drain()
      await gateway.close()
      await front.close()
      await controller.drain()
      await closeServer(internalServer, REQUESTS_MS)
      await launcher.close()
      await served.close()
      await Promise.all([pool.end(), gatewayPool.end()])
    },
  }
}

function databasePool(
  connectionString: string,
  applicationName: string,
  { settings, logger }: { settings: ServerSettings; logger: Logger },
) {
  const max = settings.CLISCALE_DATABASE_POOL_SIZE
  return createPool({ connectionString, max, applicationName, logger, statementTimeoutMs: 7_000 })
}

function localLauncher(options: Parameters<typeof startComposition>[0]): Promise<Launcher> {
  const { settings, start, environment, logger } = options
  const memoryMaxBytes = settings.CLISCALE_SESSION_MEMORY_MAX_BYTES
  return createLocalLauncher({
    ...sessionPlaces(start),
    ...(memoryMaxBytes === undefined ? {} : { memoryMaxBytes }),
    environment,
    logger,
  })
}

/** The one address: / and paths under /ws to the gateway, all others to the controller. */
class FrontDoor {
  readonly #controller: Controller
  readonly #gateway: Gateway
  readonly #publicUrl: string | undefined
  readonly #server: Server
  #isOwnHost: (host: string | undefined) => boolean = () => false
  #address = ''
  #creating = 0
  #isClosing = false

  constructor(parts: {
    controller: Controller
    gateway: Gateway
    publicUrl: string | undefined
    measured: ReturnType<typeof requestMetrics>
  }) {
    this.#controller = parts.controller
    this.#gateway = parts.gateway
    this.#publicUrl = parts.publicUrl
    const answer: RequestListener = (req, res) => {
      const fault = this.#faultOf(req)
      if (fault !== undefined) return answerProblem(req, res, fault)
      if (isGatewayPath(req.url)) return this.#gateway.app(req, res)
      if (req.method === 'POST') this.#count(res)
      this.#controller.app(req, res)
    }
    this.#server = createHttpServer(parts.measured(answer, expressRoute), { answersHalfClosed: true })
    this.#server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
      // Before anything else: a reset without a listener would end the process.
      socket.on('error', () => socket.destroy())
      // Only terminals are upgraded: elsewhere an offer, such as `h2c`, may be passed over.
      if (!isTerminalPath(req.url) && !offersWebSocket(req))
        return answerWithoutUpgrade(this.#server, req, socket, head)
      const fault = this.#faultOf(req)
      if (fault === undefined) this.#gateway.handleUpgrade(req, socket, head)
      else answerSocket(socket, fault, requestIdOf(req))
    })
  }

  async listen(port: number): Promise<number> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    const taken = (this.#server.address() as AddressInfo).port
    this.#address = `http://127.0.0.1:${taken}`
    this.#isOwnHost = createHostCheck({ publicUrl: this.#publicUrl })
    return taken
  }

  /** Creates no session any more, and waits for those that are being created: they are to be stopped too. */
  async refuseNew(): Promise<void> {
    this.#isClosing = true
    const deadline = Date.now() + REQUESTS_MS
    while (this.#creating > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
  }

  close(): Promise<void> {
    return closeServer(this.#server, REQUESTS_MS)
  }

  #faultOf(req: IncomingMessage): AppError | undefined {
    if (!this.#isOwnHost(req.headers.host)) {
      const detail = `The Host header does not name this server. Use ${this.#address}, or set CLISCALE_PUBLIC_URL to the address that you use.`
      return new AppError('host_refused', { detail })
    }
    if (this.#isClosing && req.method === 'POST')
      return new AppError('shutting_down', { detail: 'The server is shutting down. Start it again first.' })
    return undefined
  }

  #count(res: NodeJS.EventEmitter): void {
    this.#creating += 1
    res.once('close', () => (this.#creating -= 1))
  }
}

function isGatewayPath(url = ''): boolean {
  return isTerminalPath(url) || /^\/(\?|$)/.test(url)
}

function isTerminalPath(url = ''): boolean {
  return /^\/ws(\/|\?|$)/.test(url)
}

/** A socket that only we may open, from its first moment on; one that a killed server left is removed. */
async function listenOnSocket(server: Server, file: string): Promise<void> {
  await rm(file, { force: true })
  const before = process.umask(0o177)
  try {
    // Binding happens within this call.
    server.listen(file)
  } finally {
    process.umask(before)
  }
  await once(server, 'listening')
  await chmod(file, 0o600)
}
