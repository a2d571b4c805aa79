import { writeSync } from 'node:fs'
import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

const SEVERITY: Record<string, string> = {
  trace: 'DEBUG',
  debug: 'DEBUG',
  info: 'INFO',
  warn: 'WARNING',
  error: 'ERROR',
  fatal: 'CRITICAL',
}

/**
 * A logger that writes JSON lines with `severity` and `message`, as Cloud Logging reads them. Build what you log field
 * by field: never a request body, a query string, terminal bytes, or a whole object of Kubernetes.
 */
export function createLogger(options: { service: string; level?: string; destination?: DestinationStream }): Logger {
  const config = {
    level: options.level ?? 'info',
    base: { service: options.service },
    messageKey: 'message',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ severity: SEVERITY[label] ?? 'DEFAULT' }) },
  }
  return pino(config, options.destination ?? STANDARD_OUTPUT)
}

/** How long a line may wait for whoever reads the log, in milliseconds. */
const BUSY_MS = 1_000
const BUSY_PAUSE_MS = 10

/**
 * Standard output. A line that cannot be written (the disk is full, the reader has left) is lost, and the process goes
 * on: pino's own destination makes an unexpected error of it, and then waits at `fatal` until the disk has room.
 */
const STANDARD_OUTPUT: DestinationStream = {
  write(line) {
    const giveUp = Date.now() + BUSY_MS
    for (let rest = Buffer.from(line); rest.length > 0;) {
      try {
        rest = rest.subarray(writeSync(1, rest))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || Date.now() > giveUp) return
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PAUSE_MS)
      }
    }
  },
}

/** A network fault that is somebody leaving, not a fault of ours: logged as info, without a stack. */
export function isExpectedNetworkError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return (
    typeof code === 'string' &&
    [
      'ECONNREFUSED',
      'ECONNRESET',
      'EHOSTUNREACH',
      'ETIMEDOUT',
      'EPIPE',
      'ECONNABORTED',
      'ERR_STREAM_PREMATURE_CLOSE',
    ].includes(code)
  )
}
