/** work: the process that holds a session's terminal and runs its command (docs/design.md). It holds no token. */
import { STOP_LIMITS, WORK_STOP_SIGNAL } from '@cliscale/contract'
import { ConfigError, createLogger, EXIT_CONFIG } from '@cliscale/service-kit'
import { readWorkConfig } from './config.ts'
import { isAbandoned } from './hostless.ts'
import { listenOnSocket } from './listen.ts'
import { Work } from './work.ts'

const SWEEP_TERM_MS = 500

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
  // A container runtime sends what the image names as STOPSIGNAL.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(signal, end)
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
