/**
 * The server process of `cliscale up`: controller and gateway on one address. The supervisor sends what it needs over
 * the IPC channel, restarts it when it crashes, and is outlived by it for no longer than it takes to notice.
 */
import { toolHomesOf } from '@cliscale/contract'
import type { LocalLauncherOptions } from '@cliscale/controller'
import { ConfigError, createLogger, describeEnv, EXIT_CONFIG, type Logger, parseEnv } from '@cliscale/service-kit'
import type { FromServer, ServerStart, ToServer } from './server-messages.ts'
import { type Composition, startComposition } from './server/composition.ts'
import { serverSchema } from './settings.ts'

/** How often the supervisor hears that the event loop turns, in milliseconds. */
const ALIVE_MS = 1_000
/** How long the supervisor may take to say what to do, in milliseconds. */
const START_MS = 10_000

let running: Promise<Composition | undefined> | undefined
const unasked = setTimeout(() => process.exit(1), START_MS)

// Signals are the supervisor's, also when a whole machine shuts down: it tells us when to end, and what with sessions.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
setInterval(() => tell({ type: 'alive' }), ALIVE_MS)
// Without a supervisor nobody would restart or stop us: we go, and sessions go on until the next start.
process.on('disconnect', () => process.exit(0))
process.on('message', (message: ToServer) => {
  clearTimeout(unasked)
  if (message.type === 'start') running ??= start(message)
  else void stop()
})

async function start(message: ServerStart): Promise<Composition | undefined> {
  try {
    const settings = parseEnv(serverSchema, message.env)
    const logger = createLogger({ service: 'cliscale', level: settings.CLISCALE_LOG_LEVEL })
    endOnUnknownErrors(logger)
    logger.info({ settings: describeEnv(serverSchema, settings), node: process.version }, 'starting')
    const composition = await startComposition({ settings, start: message, environment: environment(), logger })
    logger.info({ port: composition.port }, 'listening')
    tell({ type: 'listening', port: composition.port })
    return composition
  } catch (error) {
    tell({ type: 'failed', ...describeFailure(error) }, () => process.exit(1))
    return undefined
  }
}

async function stop(): Promise<void> {
  tell({ type: 'stopping' })
  try {
    const composition = await running
    await composition?.stop()
    // A server that never started has not ended any session.
    process.exit(composition === undefined ? 1 : 0)
  } catch (error) {
    process.stderr.write(`${(error as Error).stack}\n`)
    process.exit(1)
  }
}

/** After an error that nobody expected nothing is sure any more: a fresh process is. */
function endOnUnknownErrors(logger: Logger): void {
  const end = (err: unknown): void => {
    logger.fatal({ err }, 'unexpected error: ending')
    process.exit(1)
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

function tell(message: FromServer, then: () => void = () => {}): void {
  if (process.connected) process.send?.(message, then)
  else then()
}

function describeFailure(error: unknown): { sentence: string; exitCode: number } {
  if (error instanceof ConfigError) return { sentence: error.message, exitCode: EXIT_CONFIG }
  const { code, message } = error as NodeJS.ErrnoException & { port?: number }
  if (code === 'EADDRINUSE') {
    const port = (error as { port?: number }).port
    return {
      sentence: `Port ${port} was taken by another program just now: stop that program, or choose another port with CLISCALE_PORT.`,
      exitCode: 1,
    }
  }
  process.stderr.write(`${(error as Error).stack}\n`)
  return { sentence: `The server could not start: ${message}`, exitCode: 1 }
}

/** What a session's programs get of our environment. */
function environment(): LocalLauncherOptions['environment'] {
  const { PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG } = process.env
  return { ...toolHomesOf(process.env), PATH, ...(LANG === undefined ? {} : { LANG }) }
}
