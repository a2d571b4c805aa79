/**
 * Everything that moves a session through its life after it was created: launches, progress, reports, stops and ends.
 * Each decides under the lock of the session's row, by the rules of `state.ts`; a claim is in `claim.ts`.
 */
import {
  factsOf,
  type FinalReport,
  type FinalStatus,
  isFinal,
  OPEN_STATUSES,
  type Reason,
  type SessionEvent,
} from '@cliscale/contract'
import type pg from 'pg'
import { type Queryable, withTransaction } from '../db/database.ts'
import type { BackendName, Identified, LaunchFault, LaunchRequest } from '../launch/launcher.ts'
import { upsertEndpoint } from './endpoints.ts'
import { launchRequest, type OpenSession } from './open-sessions.ts'
import { lockRow, stateOf } from './row.ts'
import { advance, applyEvent, type SessionEnd, type StateChange, type TimelineEntry } from './state.ts'

/** What a report made of a session. */
export interface Applied {
  /** It began to run: this long after it was created. */
  readonly startedAfterSeconds?: number
  readonly ended?: { readonly status: FinalStatus; readonly reason: Reason | null }
}

/** Applies a host's report; one that changes nothing any more is fine. */
export async function applyReport(
  pool: pg.Pool,
  id: string,
  event: SessionEvent,
  options: { readonly retentionSeconds: number; readonly now: Date },
): Promise<Applied> {
  return withTransaction(pool, async (trx) => {
    const row = await lockRow(trx, id)
    if (row === undefined) return {}
    const change = applyEvent(stateOf(row), event, options.now)
    if (change === undefined) return {}
    if (change.end !== undefined) {
      await finish(trx, id, { ...change, end: change.end }, options.retentionSeconds)
      return { ended: { status: change.status as FinalStatus, reason: change.end.reason } }
    }
    await trx.query(
      `update sessions set status = $2, stage = $3, stages = $4, started_at = coalesce(started_at, $5),
         wait_reason = null, wait_detail = null, updated_at = now() where id = $1`,
      [id, change.status, change.stage, JSON.stringify(change.stages), change.startedAt ?? null],
    )
    const { startedAt } = change
    return startedAt ? { startedAfterSeconds: (startedAt.getTime() - row.created_at.getTime()) / 1000 } : {}
  })
}

/** Ends a session whose row is locked: its state, and what must not outlive it (its order, where it listens). */
async function finish(
  trx: pg.PoolClient,
  id: string,
  change: StateChange & { readonly end: SessionEnd },
  retentionSeconds: number,
): Promise<void> {
  const { end, status, stages } = change
  await trx.query(
    `update sessions set status = $2, stages = $3, reason = $4, detail = $5, exit_code = $6, signal = $7, ended_at = $8,
       wait_reason = null, wait_detail = null, expires_at = now() + make_interval(secs => $9), updated_at = now() where id = $1`,
    [id, status, JSON.stringify(stages), end.reason, end.detail, end.exitCode, end.signal, end.at, retentionSeconds],
  )
  await trx.query('delete from session_orders where session_id = $1', [id])
  await trx.query('delete from session_endpoints where session_id = $1', [id])
}

/**
 * Takes queued sessions of a backend, oldest first, for this process to launch; another process takes others. One that
 * has waited for longer than it may is left: it ends as it is.
 */
export async function takeQueued(
  pool: pg.Pool,
  backend: BackendName,
  options: { readonly limit: number; readonly maxAgeSeconds: number },
): Promise<LaunchRequest[]> {
  return withTransaction(pool, async (trx) => {
    const { rows } = await trx.query<{
      id: string
      stages: TimelineEntry[]
      timeout_seconds: number
      image: string | null
    }>(
      `select id, stages, timeout_seconds, image from sessions
       where status = 'queued' and stop_requested_at is null and created_at > now() - make_interval(secs => $2)
         and backend is not distinct from $3
       order by created_at limit $1 for update skip locked`,
      [options.limit, options.maxAgeSeconds, backend],
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
    const row = await lockRow(trx, id)
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
    const row = await lockRow(trx, launched.sessionId)
    if (row === undefined || row.kind !== 'ttyd' || row.pod_uid !== null || row.stop_requested_at !== null) return
    const now = new Date()
    const change = applyEvent(stateOf(row), { type: 'running', at: now.toISOString() }, now)
    if (change === undefined) return
    await trx.query(
      `update sessions set pod_uid = $2, claimed_at = now(), status = $3, stage = $4, stages = $5, started_at = $6,
         wait_reason = null, wait_detail = null, updated_at = now() where id = $1`,
      [row.id, launched.launchId, change.status, change.stage, JSON.stringify(change.stages), change.startedAt ?? null],
    )
    await upsertEndpoint(trx, launched)
  })
}

/** How a session ends that its host did not end. */
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
    const row = await lockRow(trx, id)
    if (row === undefined || (ending.unclaimedOnly === true && row.pod_uid !== null)) return false
    const now = new Date()
    const { status, exitCode = null, signal = null } = ending
    const reason = ending.reason ?? 'internal'
    const detail = ending.detail || (status === 'succeeded' ? null : factsOf(reason).hint)
    const event = { type: 'ended', at: now.toISOString(), status, reason, detail, exitCode, signal } as const
    const change = applyEvent(stateOf(row), event, now)
    if (change?.end === undefined) return false
    await finish(trx, id, { ...change, end: change.end }, retentionSeconds)
    return true
  })
}

/** Asks for the end of a session, once; one that has ended stays as it is. */
export async function requestStop(db: Queryable, owner: string, id: string): Promise<void> {
  await db.query(
    `update sessions set stop_requested_at = now(), updated_at = now()
     where id = $1 and owner = $2 and stop_requested_at is null and status = any($3)`,
    [id, owner, OPEN_STATUSES],
  )
}

/** Asks all open sessions of a backend to stop, and notes why: their hosts only know that they are to stop. */
export async function requestStopOfAll(pool: pg.Pool, backend: BackendName, reason: Reason): Promise<void> {
  await pool.query(
    `update sessions set stop_requested_at = coalesce(stop_requested_at, now()), updated_at = now(),
       reason = case when stop_requested_at is null then $2 else reason end
     where status = any($1) and backend is not distinct from $3`,
    [OPEN_STATUSES, reason, backend],
  )
}
