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
  return options.destination === undefined ? pino(config) : pino(config, options.destination)
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
