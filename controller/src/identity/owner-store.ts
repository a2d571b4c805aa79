import type { Queryable } from '../db/database.ts'
import type { ApiKey } from './api-keys.ts'

/**
 * Gives to named owners what their keys started without a name, in this deployment or by a replica that does not know
 * the name yet; call it again while one may run. Of two equal Idempotency-Keys that meet one stays. Returns how many
 * sessions moved.
 */
export async function adoptSessions(db: Queryable, keys: readonly ApiKey[]): Promise<number> {
  const named = keys.filter((key) => key.owner !== key.namelessOwner)
  if (named.length === 0) return 0
  const { rowCount } = await db.query(
    `with move (was, owner) as (select * from unnest($1::text[], $2::text[])),
     copied as (
       insert into idempotency_keys (owner, key, body_hmac, session_id, created_at)
       select move.owner, k.key, k.body_hmac, k.session_id, k.created_at
       from idempotency_keys k join move on move.was = k.owner
       on conflict (owner, key) do nothing
     ),
     removed as (delete from idempotency_keys k using move where k.owner = move.was)
     update sessions s set owner = move.owner from move where s.owner = move.was`,
    [named.map((key) => key.namelessOwner), named.map((key) => key.owner)],
  )
  return rowCount ?? 0
}
