import { AppError } from '@cliscale/contract'
import pg from 'pg'
import type { Logger } from './logger.ts'

export interface PoolOptions {
  readonly connectionString: string
  readonly max: number
  /** Shown by PostgreSQL in pg_stat_activity. */
  readonly applicationName: string
  readonly logger: Logger
  /** How long to wait for a connection, in milliseconds. */
  readonly connectTimeoutMs?: number
  /** How long one statement may take, in milliseconds. */
  readonly statementTimeoutMs?: number
}

/** A pool that survives the loss of its server: a dropped idle connection is logged, not thrown. The caller ends it. */
export function createPool(options: PoolOptions): pg.Pool {
  const statementTimeoutMs = options.statementTimeoutMs ?? 15_000
  const pool = new pg.Pool({
    connectionString: options.connectionString,
    max: options.max,
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    statement_timeout: statementTimeoutMs,
    // The server's own limit says nothing when the server itself hangs.
    query_timeout: statementTimeoutMs + 1_000,
    idle_in_transaction_session_timeout: 30_000,
    keepAlive: true,
  })
  pool.on('error', (error) =>
    options.logger.warn({ code: (error as { code?: string }).code }, 'database connection lost'),
  )
  return pool
}

/** Of the network and of names: EAI_AGAIN is a name server that does not answer, ENOENT a socket that is not there. */
const UNREACHABLE = [
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOTFOUND',
  'ENOENT',
]

/**
 * Whether an error says that the database cannot be reached or is not taking work just now, as against a mistake in a
 * statement. Such a request is answered `store_unavailable` and may be tried again.
 */
export function isStoreUnavailable(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code = '', message = '' } = error as { code?: string; message?: string }
  // Class 08 connection, 53 resources, 57P operator intervention, 25006 read-only (SQLSTATE, PostgreSQL appendix A).
  // 57014 and 55P03: a statement or a lock that took too long. Class 40: two transactions were in each other's way.
  if (/^(08|40|53|57P)/.test(code) || ['25006', '57014', '55P03'].includes(code)) return true
  if (UNREACHABLE.includes(code)) return true
  return /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Timeout acquiring a connection|Query read timeout|Client was closed and is not queryable/.test(
    message,
  )
}

/** An error as it is answered: one that says that the database is not there becomes `store_unavailable`; others stay. */
export function toFault(error: unknown): unknown {
  if (!isStoreUnavailable(error)) return error
  return new AppError('store_unavailable', {
    detail: 'The database does not answer right now. Nothing was lost; try again in a few seconds.',
    headers: { 'Retry-After': '5' },
    cause: error,
  })
}
