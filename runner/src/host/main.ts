/** host: the trusted process of a session, which claims it, keeps its output and serves it (docs/design.md). */
import { ConfigError, createLogger, EXIT_CONFIG, installDrain } from '@cliscale/service-kit'
import { readHostConfig } from './config.ts'
import { fetchCode } from './fetch/fetch-code.ts'
import { runHost } from './host.ts'
import { watchLoop } from './loop-watch.ts'
import { leaveDoneSign } from './host-state.ts'
import { openSessionTerminal } from './terminal/session-terminal.ts'

/** sysexits.h EX_TEMPFAIL: the host was told to end while its session was open; it is to be started again. */
const EXIT_UNFINISHED = 75
/** What leaving takes beyond the grace, or where work goes on. */
const DRAIN_SPARE_MS = 8000

const logger = createLogger({ service: 'host' })

async function main(): Promise<void> {
  const config = readHostConfig(process.env)
  watchLoop((err) => logger.warn({ err }, 'no thread watches the event loop of this process'))
  const asked = new AbortController()
  let isDone = false
  const deps = { config, openTerminal: openSessionTerminal, fetchCode, logger, signal: asked.signal }
  const life = runHost(deps).then(() => {
    isDone = true
    leaveDoneSign(config.endpointFile)
  })
  installDrain({
    logger,
    limitMs: config.endGraceMs + DRAIN_SPARE_MS,
    steps: [
      [
        'host',
        async () => {
          asked.abort(new Error('the host was told to end'))
          await life.catch(() => {})
        },
      ],
    ],
    exit: (code) => process.exit(code === 0 && !isDone ? EXIT_UNFINISHED : code),
  })
  try {
    await life
  } catch (error) {
    // Told to end: the drain exits.
    if (!asked.signal.aborted) throw error
  }
  if (!asked.signal.aborted) process.exit(0)
}

main().catch((err: unknown) => {
  if (err instanceof ConfigError) {
    process.stderr.write(`${err.message}\n`)
    process.exit(EXIT_CONFIG)
  }
  logger.fatal({ err }, 'the host ended by a fault')
  process.exit(1)
})
