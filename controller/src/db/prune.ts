import { IDEMPOTENCY_HOURS } from '../sessions/idempotency.ts'
import type { Queryable } from './database.ts'

/** Rows of a kind that one call removes at most. A session takes its output, viewers and keys along. */
const BATCH = 500
const SESSION_BATCH = 50

/**
 * What is past its time, a batch of each kind. Rows that are held are left for the next time. Sessions first: their
 * expiry was set when they ended.
 */
const STATEMENTS: readonly (readonly [sql: string, values?: readonly unknown[]])[] = [
  [
    `delete from sessions where id in (select id from sessions
     where expires_at < now() and ended_at is not null limit ${SESSION_BATCH} for update skip locked)`,
  ],
  [
    `delete from token_jti where jti in (select jti from token_jti
     where expires_at < now() - interval '1 minute' limit ${BATCH} for update skip locked)`,
  ],
  [
    `delete from idempotency_keys where (owner, key) in (select owner, key from idempotency_keys
     where created_at < now() - make_interval(hours => $1) limit ${BATCH} for update skip locked)`,
    [IDEMPOTENCY_HOURS],
  ],
  [
    `delete from rate_limits where key in (select key from rate_limits
     where expire < (extract(epoch from now()) - 60) * 1000 limit ${BATCH} for update skip locked)`,
  ],
  [
    `delete from session_viewers where id in (select id from session_viewers
     where expires_at < now() limit ${BATCH} for update skip locked)`,
  ],
]

/** Removes a batch of what has expired, of each kind; returns how many rows. Call it again while it finds any. */
export async function pruneExpired(db: Queryable): Promise<number> {
  let removed = 0
  for (const [sql, values = []] of STATEMENTS) removed += (await db.query(sql, [...values])).rowCount ?? 0
  return removed
}
