import { type FinalStatus, isFinal, type Reason, REASONS, type SessionStatus } from '@cliscale/contract'
import type pg from 'pg'
import { withTransaction } from '../db/database.ts'
import type { Identified, LaunchRequest } from '../launch/launcher.ts'
import { advance } from '../internal/session-state.ts'
import { finishSession, lockSession, OPEN_STATUSES } from '../internal/store.ts'

/** What the reconciler reads of an open session. */
export interface OpenSession {
  readonly id: string
  readonly status: SessionStatus
  readonly podUid: string | null
  readonly launchedAt: Date | null
  readonly stopRequestedAt: Date | null
  /** By the database's clock, in seconds. */
  readonly ageSeconds: number
  readonly stopAgeSeconds: number | null
  readonly launchAgeSeconds: number | null
  /** Since it was claimed; null: it was not. */
  readonly claimAgeSeconds: number | null
  readonly timeoutSeconds: number
  readonly image: string | null
  readonly endpoint: { readonly host: string; readonly port: number; readonly podUid: string } | null
}

interface OpenRow {
  id: string
  status: SessionStatus
  pod_uid: string | null
  launched_at: Date | null
  stop_requested_at: Date | null
  age: number
  stop_age: number | null
  launch_age: number | null
  claim_age: number | null
  timeout_seconds: number
  image: string | null
  pod_ip: string | null
  port: number | null
  endpoint_uid: string | null
}

/** All open sessions with what is written down about where they listen. */
export async function findOpenSessions(pool: pg.Pool): Promise<OpenSession[]> {
  const { rows } = await pool.query<OpenRow>(
    `select s.id, s.status, s.pod_uid, s.launched_at, s.stop_requested_at,
       extract(epoch from now() - s.created_at)::float8 as age,
       extract(epoch from now() - s.stop_requested_at)::float8 as stop_age,
       extract(epoch from now() - s.launched_at)::float8 as launch_age,
       extract(epoch from now() - s.claimed_at)::float8 as claim_age, s.timeout_seconds, s.image,
       e.pod_ip, e.port, e.pod_uid as endpoint_uid
     from sessions s left join session_endpoints e on e.session_id = s.id
     where s.status = any($1) and s.kind = 'runner' order by s.created_at`,
    [OPEN_STATUSES],
  )
  return rows.map((row) => ({
    id: row.id,
    status: row.status,
    podUid: row.pod_uid,
    launchedAt: row.launched_at,
    stopRequestedAt: row.stop_requested_at,
    ageSeconds: row.age,
    stopAgeSeconds: row.stop_age,
    launchAgeSeconds: row.launch_age,
    claimAgeSeconds: row.claim_age,
    timeoutSeconds: row.timeout_seconds,
    image: row.image,
    endpoint: row.pod_ip === null ? null : { host: row.pod_ip, port: row.port ?? 0, podUid: row.endpoint_uid ?? '' },
  }))
}

/** What is known of sessions that run but are not open: seconds since their end. A row that is absent is not in it. */
export async function findEndAges(pool: pg.Pool, ids: readonly string[]): Promise<Map<string, number>> {
  if (ids.length === 0) return new Map()
  const { rows } = await pool.query<{ id: string; age: number }>(
    // One that has no end is open again or still: never an orphan.
    `select id, coalesce(extract(epoch from now() - ended_at)::float8, 0) as age from sessions where id = any($1)`,
    [ids],
  )
  return new Map(rows.map((row) => [row.id, row.age]))
}

/** Takes queued sessions, oldest first, for this process to launch; another process takes others. */
export async function takeQueued(pool: pg.Pool, limit: number): Promise<LaunchRequest[]> {
  return withTransaction(pool, async (trx) => {
    const { rows } = await trx.query<{
      id: string
      stages: Parameters<typeof advance>[0]
      timeout_seconds: number
      image: string | null
    }>(
      `select id, stages, timeout_seconds, image from sessions where status = 'queued' and kind = 'runner' and stop_requested_at is null
       order by created_at limit $1 for update skip locked`,
      [limit],
    )
    for (const row of rows) {
      const stages = JSON.stringify(advance(row.stages, new Date(), 'scheduling'))
      await trx.query(
        `update sessions set status = 'scheduling', stage = 'scheduling', stages = $2, launched_at = now(),
           updated_at = now() where id = $1`,
        [row.id, stages],
      )
    }
    return rows.map((row) => launchRequest({ id: row.id, timeoutSeconds: row.timeout_seconds, image: row.image }))
  })
}

/** What a launcher is told of a session. */
export function launchRequest(session: Pick<OpenSession, 'id' | 'timeoutSeconds' | 'image'>): LaunchRequest {
  const { id: sessionId, timeoutSeconds, image } = session
  return { sessionId, timeoutSeconds, ...(image !== null && { image }) }
}

export interface Ending {
  readonly status: FinalStatus
  readonly reason: Reason
  /** A sentence for a person; the reason's own when absent. */
  readonly detail?: string
  /** Only when nobody has claimed it: a claim that came in between goes on. */
  readonly unclaimedOnly?: boolean
}

/** Ends an open session. Returns whether it was this call that did. */
export async function endSession(
  pool: pg.Pool,
  id: string,
  ending: Ending,
  retentionSeconds: number,
): Promise<boolean> {
  return withTransaction(pool, async (trx) => {
    const row = await lockSession(trx, id)
    if (row === undefined || isFinal(row.status)) return false
    if (ending.unclaimedOnly === true && row.pod_uid !== null) return false
    const at = new Date()
    const reason = ending.status === 'stopped' ? (row.reason ?? ending.reason) : ending.reason
    const end = { at, reason, detail: ending.detail ?? REASONS[reason].hint, exitCode: null, signal: null }
    const stages = advance(row.stages, at)
    await finishSession(trx, id, { status: ending.status, stages, end }, retentionSeconds)
    return true
  })
}

/** Asks all open sessions to stop, and notes why: their hosts only know that they are to stop. */
export async function requestStopOfAll(pool: pg.Pool, reason: Reason): Promise<void> {
  await pool.query(
    `update sessions set stop_requested_at = coalesce(stop_requested_at, now()), updated_at = now(),
       reason = case when stop_requested_at is null then $2 else reason end
     where status = any($1) and kind = 'runner'`,
    [OPEN_STATUSES, reason],
  )
}

/** Forgets where a launch listens: it does not, just now. A row that another launch wrote stays. */
export async function deleteEndpoint(pool: pg.Pool, { sessionId, podUid }: Identified): Promise<void> {
  await pool.query('delete from session_endpoints where session_id = $1 and pod_uid = $2', [sessionId, podUid])
}
