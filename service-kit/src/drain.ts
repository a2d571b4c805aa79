import type { Logger } from './logger.ts'

/**
 * Ends a process in order on SIGTERM or SIGINT: runs `steps` one after another within `limitMs`, then exits 0 (1 when
 * a step failed or time ran out). A second signal exits at once. Call it last in a composition root.
 */
export function installDrain(options: {
  logger: Logger
  limitMs: number
  steps: readonly (readonly [name: string, run: () => Promise<void> | void])[]
  exit: (code: number) => void
}): { drain: (why: string) => void } {
  let draining = false
  const drain = (why: string): void => {
    if (draining) return options.exit(1)
    draining = true
    options.logger.info({ why }, 'draining')
    const timer = setTimeout(() => {
      options.logger.error({ limitMs: options.limitMs }, 'drain took too long')
      options.exit(1)
    }, options.limitMs)
    void runSteps(options.steps, options.logger).then((ok) => {
      clearTimeout(timer)
      options.exit(ok ? 0 : 1)
    })
  }
  process.on('SIGTERM', () => drain('SIGTERM'))
  process.on('SIGINT', () => drain('SIGINT'))
  return { drain }
}

async function runSteps(
  steps: readonly (readonly [string, () => Promise<void> | void])[],
  logger: Logger,
): Promise<boolean> {
  let ok = true
  for (const [name, run] of steps) {
    try {
      await run()
    } catch (err) {
      ok = false
      logger.error({ err, step: name }, 'drain step failed')
    }
  }
  return ok
}
