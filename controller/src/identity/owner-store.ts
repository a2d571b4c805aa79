import type { Queryable } from '../db/database.ts'
import type { ApiKey } from './api-keys.ts'

/** Sessions that one call moves. */
const BATCH = 500

/**
 * Gives to named owners what their keys started without a name, in this deployment or by a replica that does not know
 * the name yet; call it again while one may run. If both owners used the same Idempotency-Key, one of them is kept. A
 * call moves a batch, so that it holds up nobody; it returns how many sessions moved.
 */
export async function adoptSessions(db: Queryable, keys: readonly ApiKey[]): Promise<number> {
  const named = keys.filter((key) => key.owner !== key.namelessOwner)
  if (named.length === 0) return 0
  const { rowCount } = await db.query(
    `with move (was, owner) as (select * from unnest($1::text[], $2::text[])),
     batch as (
       select s.id, move.owner from sessions s join move on move.was = s.owner limit $3 for update of s skip locked
     ),
     copied as (
       insert into idempotency_keys (owner, key, body_hmac, session_id, created_at)
       select batch.owner, k.key, k.body_hmac, k.session_id, k.created_at
       from idempotency_keys k join batch on batch.id = k.session_id
       on conflict (owner, key) do nothing
     ),
     removed as (delete from idempotency_keys k using batch where k.session_id = batch.id and k.owner <> batch.owner)
     update sessions s set owner = batch.owner from batch where s.id = batch.id`,
    [named.map((key) => key.namelessOwner), named.map((key) => key.owner), BATCH],
  )
  return rowCount ?? 0
}
