/** work: the process that holds a session's terminal and runs its command (docs/design.md). It holds no token. */
import { STOP_LIMITS, WORK_STOP_SIGNAL } from '@cliscale/contract'
import { ConfigError, createLogger, EXIT_CONFIG } from '@cliscale/service-kit'
import { readWorkConfig } from './config.ts'
import { isAbandoned } from './hostless.ts'
import { listenOnSocket } from './listen.ts'
import { Work } from './work.ts'

const SWEEP_TERM_MS = 500
/** A container runtime sends what the image names as STOPSIGNAL; these are all that images name. */
const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGWINCH', 'SIGUSR1', 'SIGUSR2'] as const

const logger = createLogger({ service: 'work' })

async function main(): Promise<void> {
  const config = readWorkConfig(process.env)
  const work = new Work({
    ...config,
    path: process.env['PATH'],
    sweepTermMs: SWEEP_TERM_MS,
    logger,
    onDone: () => setTimeout(() => process.exit(0), 50), // time for the last frames to leave
  })
  let signalled = false
  const end = (): void => {
    if (signalled) process.exit(1)
    signalled = true
    setTimeout(() => void work.quit(), STOP_LIMITS.workMs)
    void work.endWithin(STOP_LIMITS.graceMs)
  }
  for (const signal of STOP_SIGNALS) process.on(signal, end)
  process.on(WORK_STOP_SIGNAL, () => work.stop('user', STOP_LIMITS.graceMs))
  await listenOnSocket(config.socketPath, (socket) => work.accept(socket))
  setInterval(() => {
    if (!isAbandoned(work.current, work.hostlessSinceMs, Date.now())) return
    logger.error('no host connected; giving up')
    void work.quit()
  }, 5000)
}

main().catch((err: unknown) => {
  if (err instanceof ConfigError) {
    process.stderr.write(`${err.message}\n`)
    process.exit(EXIT_CONFIG)
  }
  logger.fatal({ err }, 'work cannot start')
  process.exit(1)
})
