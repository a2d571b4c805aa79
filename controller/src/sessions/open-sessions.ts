import { OPEN_STATUSES, type Reason, type SessionStatus } from '@cliscale/contract'
import type pg from 'pg'
import type { Queryable } from '../db/database.ts'
import type { BackendName, LaunchFault, LaunchRequest } from '../launch/launcher.ts'

/** What the reconciler reads of an open session. */
export interface OpenSession {
  readonly id: string
  readonly kind: 'runner' | 'ttyd'
  readonly status: SessionStatus
  /** The launch that holds the claim; null: it is not claimed. */
  readonly launchId: string | null
  /** Names the last launch that was tried: its time, as the database writes it. */
  readonly launchedAt: string | null
  readonly stopRequestedAt: Date | null
  /** By the database's clock, in seconds. */
  readonly ageSeconds: number
  readonly stopAgeSeconds: number | null
  readonly launchAgeSeconds: number | null
  /** Since it was claimed; null: it was not. */
  readonly claimAgeSeconds: number | null
  readonly timeoutSeconds: number
  readonly image: string | null
  readonly wait: LaunchFault | null
  readonly endpoint: { readonly host: string; readonly port: number; readonly launchId: string } | null
}

interface OpenRow {
  id: string
  kind: 'runner' | 'ttyd'
  status: SessionStatus
  pod_uid: string | null
  launched_at: string | null
  stop_requested_at: Date | null
  age: number
  stop_age: number | null
  launch_age: number | null
  claim_age: number | null
  timeout_seconds: number
  image: string | null
  wait_reason: Reason | null
  wait_detail: string | null
  pod_ip: string | null
  port: number | null
  endpoint_uid: string | null
}

/** All open sessions of a backend with what is written down about where they listen. */
export async function findOpenSessions(pool: pg.Pool, backend: BackendName): Promise<OpenSession[]> {
  const { rows } = await pool.query<OpenRow>(
    `select s.id, s.kind, s.status, s.pod_uid, s.launched_at::text, s.stop_requested_at,
       extract(epoch from now() - s.created_at)::float8 as age,
       extract(epoch from now() - s.stop_requested_at)::float8 as stop_age,
       extract(epoch from now() - s.launched_at)::float8 as launch_age,
       extract(epoch from now() - s.claimed_at)::float8 as claim_age, s.timeout_seconds, s.image,
       s.wait_reason, s.wait_detail, e.pod_ip, e.port, e.pod_uid as endpoint_uid
     from sessions s left join session_endpoints e on e.session_id = s.id
     where s.status = any($1) and s.backend is not distinct from $2 order by s.created_at`,
    [OPEN_STATUSES, backend],
  )
  return rows.map((row) => ({
    id: row.id,
    kind: row.kind,
    status: row.status,
    launchId: row.pod_uid,
    launchedAt: row.launched_at,
    stopRequestedAt: row.stop_requested_at,
    ageSeconds: row.age,
    stopAgeSeconds: row.stop_age,
    launchAgeSeconds: row.launch_age,
    claimAgeSeconds: row.claim_age,
    timeoutSeconds: row.timeout_seconds,
    image: row.image,
    wait: row.wait_reason === null ? null : { reason: row.wait_reason, detail: row.wait_detail ?? '' },
    endpoint: row.pod_ip === null ? null : { host: row.pod_ip, port: row.port ?? 0, launchId: row.endpoint_uid ?? '' },
  }))
}

/** How many sessions are open, for each backend that has any. */
export async function countOpenByBackend(pool: pg.Pool): Promise<{ backend: BackendName; sessions: number }[]> {
  const { rows } = await pool.query<{ backend: BackendName; sessions: number }>(
    'select backend, count(*)::int as sessions from sessions where status = any($1) group by backend order by backend',
    [OPEN_STATUSES],
  )
  return rows
}

/**
 * What is known of sessions that run but were not open: seconds since their end. A row that is absent is not in it; one
 * that has no end is open again, or still, or open with another backend, and has the age 0.
 */
export async function findEndAges(
  pool: pg.Pool,
  ids: readonly string[],
): Promise<Map<string, { readonly isFinal: boolean; readonly seconds: number }>> {
  if (ids.length === 0) return new Map()
  const { rows } = await pool.query<{ id: string; final: boolean; age: number }>(
    `select id, ended_at is not null as final, coalesce(extract(epoch from now() - ended_at)::float8, 0) as age
     from sessions where id = any($1)`,
    [ids],
  )
  return new Map(rows.map((row) => [row.id, { isFinal: row.final, seconds: row.age }]))
}

/** What a launcher is told of a session. */
export function launchRequest(session: Pick<OpenSession, 'id' | 'timeoutSeconds' | 'image'>): LaunchRequest {
  const { id: sessionId, timeoutSeconds, image } = session
  return { sessionId, timeoutSeconds, ...(image !== null && { image }) }
}

/** What control streams depend on. */
export interface ControlState {
  readonly id: string
  readonly status: SessionStatus
  readonly stop: boolean
  /** Set before the end by whoever asked all sessions to stop. */
  readonly reason: Reason | null
}

export async function findControlStates(db: Queryable, ids: readonly string[]): Promise<ControlState[]> {
  const { rows } = await db.query<ControlState>(
    'select id, status, stop_requested_at is not null as stop, reason from sessions where id = any($1)',
    [ids],
  )
  return rows
}
