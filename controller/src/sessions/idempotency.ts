import type { Queryable } from '../db/database.ts'

/** How long a key stands for its session. */
export const IDEMPOTENCY_HOURS = 24

/** What an owner's idempotency key stands for. */
export interface KeyHolder {
  readonly sessionId: string
  readonly bodyHmac: Buffer
}

/** Who holds a key that was used in the last IDEMPOTENCY_HOURS, by a transaction that is committed. */
export async function findKeyHolder(db: Queryable, owner: string, key: string): Promise<KeyHolder | undefined> {
  const { rows } = await db.query<{ session_id: string; body_hmac: Buffer }>(
    `select session_id, body_hmac from idempotency_keys
     where owner = $1 and key = $2 and created_at > now() - make_interval(hours => $3)`,
    [owner, key, IDEMPOTENCY_HOURS],
  )
  const row = rows[0]
  return row && { sessionId: row.session_id, bodyHmac: row.body_hmac }
}

/**
 * Takes an idempotency key for a session that this transaction is about to write. Waits for another transaction that
 * is doing the same. Returns whether it is taken; if not, `findKeyHolder` tells by whom.
 */
export async function takeKey(trx: Queryable, owner: string, key: string, holder: KeyHolder): Promise<boolean> {
  const { rowCount } = await trx.query(
    `insert into idempotency_keys as held (owner, key, body_hmac, session_id) values ($1, $2, $3, $4)
     on conflict (owner, key) do update
       set body_hmac = excluded.body_hmac, session_id = excluded.session_id, created_at = now()
       where held.created_at <= now() - make_interval(hours => $5)`,
    [owner, key, holder.bodyHmac, holder.sessionId, IDEMPOTENCY_HOURS],
  )
  return rowCount === 1
}
