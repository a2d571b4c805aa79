import { OPEN_STATUSES } from '@cliscale/contract'
import type { Queryable } from '../db/database.ts'
import type { Identified } from '../launch/launcher.ts'

/** Writes where a session's host listens; only for the launch that holds the claim of an open session. */
export async function upsertEndpoint(db: Queryable, { sessionId, launchId, address }: Identified): Promise<void> {
  // The lock waits for a session that is just ending, whose endpoint must not come back.
  await db.query(
    `insert into session_endpoints (session_id, pod_ip, port, pod_uid)
     select id, $3, $4, pod_uid from sessions where id = $1 and pod_uid = $2 and status = any($5) for share
     on conflict (session_id) do update
       set pod_ip = excluded.pod_ip, port = excluded.port, pod_uid = excluded.pod_uid, updated_at = now()`,
    [sessionId, launchId, address?.host, address?.port, OPEN_STATUSES],
  )
}

/** Forgets where a launch listens: it does not, just now. A row that another launch wrote stays. */
export async function deleteEndpoint(
  db: Queryable,
  { sessionId, launchId }: Pick<Identified, 'sessionId' | 'launchId'>,
): Promise<void> {
  await db.query('delete from session_endpoints where session_id = $1 and pod_uid = $2', [sessionId, launchId])
}
