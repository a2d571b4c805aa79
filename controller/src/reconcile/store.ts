import {
  type FinalReport,
  type FinalStatus,
  isFinal,
  OPEN_STATUSES,
  type Reason,
  REASONS,
  type SessionStatus,
} from '@cliscale/contract'
import type pg from 'pg'
import { withTransaction } from '../db/database.ts'
import type { Identified, LaunchFault, LaunchRequest } from '../launch/launcher.ts'
import { advance, applyEvent } from '../internal/session-state.ts'
import { finishSession, lockSession, stateOf, upsertEndpoint } from '../internal/store.ts'

/** What the reconciler reads of an open session. */
export interface OpenSession {
  readonly id: string
  readonly kind: 'runner' | 'ttyd'
  readonly status: SessionStatus
  readonly podUid: string | null
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
  readonly endpoint: { readonly host: string; readonly port: number; readonly podUid: string } | null
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

/** All open sessions with what is written down about where they listen. */
export async function findOpenSessions(pool: pg.Pool): Promise<OpenSession[]> {
  const { rows } = await pool.query<OpenRow>(
    `select s.id, s.kind, s.status, s.pod_uid, s.launched_at::text, s.stop_requested_at,
       extract(epoch from now() - s.created_at)::float8 as age,
       extract(epoch from now() - s.stop_requested_at)::float8 as stop_age,
       extract(epoch from now() - s.launched_at)::float8 as launch_age,
       extract(epoch from now() - s.claimed_at)::float8 as claim_age, s.timeout_seconds, s.image,
       s.wait_reason, s.wait_detail, e.pod_ip, e.port, e.pod_uid as endpoint_uid
     from sessions s left join session_endpoints e on e.session_id = s.id
     where s.status = any($1) order by s.created_at`,
    [OPEN_STATUSES],
  )
  return rows.map((row) => ({
    id: row.id,
    kind: row.kind,
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
    wait: row.wait_reason === null ? null : { reason: row.wait_reason, detail: row.wait_detail ?? '' },
    endpoint: row.pod_ip === null ? null : { host: row.pod_ip, port: row.port ?? 0, podUid: row.endpoint_uid ?? '' },
  }))
}

/**
 * What is known of sessions that run but were not open: seconds since their end. A row that is absent is not in it; one
 * that has no end is open again, or still, and has the age 0.
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

/**
 * Takes queued sessions, oldest first, for this process to launch; another process takes others. One that has waited
 * for longer than it may is left: it ends as it is.
 */
export async function takeQueued(
  pool: pg.Pool,
  options: { readonly limit: number; readonly maxAgeSeconds: number },
): Promise<LaunchRequest[]> {
  return withTransaction(pool, async (trx) => {
    const { rows } = await trx.query<{
      id: string
      stages: Parameters<typeof advance>[0]
      timeout_seconds: number
      image: string | null
    }>(
      `select id, stages, timeout_seconds, image from sessions
       where status = 'queued' and stop_requested_at is null and created_at > now() - make_interval(secs => $2)
       order by created_at limit $1 for update skip locked`,
      [options.limit, options.maxAgeSeconds],
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

/**
 * Makes it the caller's task to launch an unclaimed session again, or to clear its last launch away: whoever comes first
 * after that launch. Of several processes that read the same row one gets true, so that none removes what another has
 * launched meanwhile.
 */
export async function takeRelaunch(pool: pg.Pool, session: OpenSession): Promise<boolean> {
  const { rowCount } = await pool.query(
    `update sessions set launched_at = clock_timestamp(), updated_at = now()
     where id = $1 and pod_uid is null and status = any($2) and stop_requested_at is null
       and launched_at::text is not distinct from $3`,
    [session.id, OPEN_STATUSES, session.launchedAt],
  )
  return rowCount === 1
}

/** Writes how far a session's launch is and what it waits for; nothing for a session that has ended. */
export async function noteProgress(
  pool: pg.Pool,
  id: string,
  progress: { readonly pulling: boolean; readonly wait: LaunchFault | undefined },
): Promise<void> {
  await withTransaction(pool, async (trx) => {
    const row = await lockSession(trx, id)
    if (row === undefined || isFinal(row.status)) return
    const now = new Date()
    const report = { type: 'stage', name: 'pulling_image', at: now.toISOString() } as const
    // A session that is claimed is past it, whatever the launcher has heard so far.
    const change = progress.pulling && row.pod_uid === null ? applyEvent(stateOf(row), report, now) : undefined
    const { reason = null, detail = null } = progress.wait ?? {}
    // Each write tells everybody who watches the session.
    if (change === undefined && row.wait_reason === reason && row.wait_detail === detail) return
    const { status, stage, stages } = { ...row, ...change }
    await trx.query(
      `update sessions set status = $2, stage = $3, stages = $4, wait_reason = $5, wait_detail = $6, updated_at = now()
       where id = $1`,
      [id, status, stage, JSON.stringify(stages), reason, detail],
    )
  })
}

/**
 * A terminal that has no host to claim it (kind ttyd) listens: the session runs, and this launch is the one that it has.
 * Nothing for a session that has another launch, is to stop, or has ended.
 */
export async function startWithoutClaim(pool: pg.Pool, launched: Identified): Promise<void> {
  await withTransaction(pool, async (trx) => {
    const row = await lockSession(trx, launched.sessionId)
    if (row === undefined || row.kind !== 'ttyd' || row.pod_uid !== null || row.stop_requested_at !== null) return
    const now = new Date()
    const change = applyEvent(stateOf(row), { type: 'running', at: now.toISOString() }, now)
    if (change === undefined) return
    await trx.query(
      `update sessions set pod_uid = $2, claimed_at = now(), status = $3, stage = $4, stages = $5, started_at = $6,
         wait_reason = null, wait_detail = null, updated_at = now() where id = $1`,
      [row.id, launched.podUid, change.status, change.stage, JSON.stringify(change.stages), change.startedAt ?? null],
    )
    await upsertEndpoint(trx, launched)
  })
}

/** What a launcher is told of a session. */
export function launchRequest(session: Pick<OpenSession, 'id' | 'timeoutSeconds' | 'image'>): LaunchRequest {
  const { id: sessionId, timeoutSeconds, image } = session
  return { sessionId, timeoutSeconds, ...(image !== null && { image }) }
}

export interface Ending extends Partial<FinalReport> {
  readonly status: FinalStatus
  readonly reason: Reason | null
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
    const known = ending.status === 'stopped' ? row.reason : null
    const reason = ending.status === 'succeeded' ? null : (known ?? ending.reason ?? 'internal')
    // Whoever asked for the stop knows why; what others say of it would not fit.
    const detail = known === null && ending.detail ? ending.detail : reason && REASONS[reason].hint
    const { exitCode = null, signal = null } = ending
    const stages = advance(row.stages, at)
    await finishSession(
      trx,
      id,
      { status: ending.status, stages, end: { at, reason, detail, exitCode, signal } },
      retentionSeconds,
    )
    return true
  })
}

/** Asks all open sessions to stop, and notes why: their hosts only know that they are to stop. */
export async function requestStopOfAll(pool: pg.Pool, reason: Reason): Promise<void> {
  await pool.query(
    `update sessions set stop_requested_at = coalesce(stop_requested_at, now()), updated_at = now(),
       reason = case when stop_requested_at is null then $2 else reason end
     where status = any($1)`,
    [OPEN_STATUSES, reason],
  )
}

/** Forgets where a launch listens: it does not, just now. A row that another launch wrote stays. */
export async function deleteEndpoint(
  pool: pg.Pool,
  { sessionId, podUid }: Pick<Identified, 'sessionId' | 'podUid'>,
): Promise<void> {
  await pool.query('delete from session_endpoints where session_id = $1 and pod_uid = $2', [sessionId, podUid])
}
