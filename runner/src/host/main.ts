/** host: the trusted process of a session, which claims it, keeps its output and serves it (DESIGN section 2). */
import { ConfigError, createLogger, EXIT_CONFIG, installDrain } from '@cliscale/service-kit'
import { readHostConfig } from './config.ts'
import { fetchCode } from './fetch/fetch-code.ts'
import { runHost } from './host.ts'
import { leaveDoneSign } from './host-state.ts'
import { openSessionTerminal } from './terminal/session-terminal.ts'

/** sysexits.h EX_TEMPFAIL: the host was told to end while its session was open; it is to be started again. */
const EXIT_UNFINISHED = 75
const DRAIN_LIMIT_MS = 8000

const logger = createLogger({ service: 'host' })

async function main(): Promise<void> {
  const config = readHostConfig(process.env)
  const ending = new AbortController()
  const life = runHost({ config, openTerminal: openSessionTerminal, fetchCode, logger, signal: ending.signal })
  installDrain({
    logger,
    limitMs: DRAIN_LIMIT_MS,
    steps: [
      [
        'host',
        async () => {
          ending.abort(new Error('the host is told to end'))
          await life.catch(() => {})
        },
      ],
    ],
    exit: (code) => process.exit(code === 0 ? EXIT_UNFINISHED : code),
  })
  try {
    await life
  } catch (error) {
    // Told to end: the drain exits.
    if (!ending.signal.aborted) throw error
    return
  }
  if (ending.signal.aborted) return
  leaveDoneSign(config.endpointFile)
  process.exit(0)
}

main().catch((err: unknown) => {
  if (err instanceof ConfigError) {
    process.stderr.write(`${err.message}\n`)
    process.exit(EXIT_CONFIG)
  }
  logger.fatal({ err }, 'the host ended by a fault')
  process.exit(1)
})
