import {
  type ClaimResponse,
  type FinalStatus,
  isFinal,
  OPEN_STATUSES,
  type Reason,
  type SessionEvent,
  type SessionStatus,
  type Stage,
} from '@cliscale/contract'
import type pg from 'pg'
import { withTransaction } from '../db/database.ts'
import type { Identified } from '../launch/launcher.ts'
import {
  advance,
  applyEvent,
  type SessionEnd,
  type SessionState,
  type StateChange,
  type TimelineEntry,
} from './session-state.ts'

/** A row of `sessions` as the internal API and the reconciler read it. */
export interface SessionRow {
  readonly id: string
  readonly kind: 'runner' | 'ttyd'
  readonly status: SessionStatus
  readonly stage: Stage | null
  readonly stages: readonly TimelineEntry[]
  readonly reason: Reason | null
  readonly timeout_seconds: number
  readonly pod_uid: string | null
  readonly claim_nonce_hash: Buffer | null
  readonly report_credential_hash: Buffer | null
  readonly order_started_at: Date | null
  readonly stop_requested_at: Date | null
  readonly started_at: Date | null
  readonly ended_at: Date | null
  readonly created_at: Date
  readonly wait_reason: Reason | null
  readonly wait_detail: string | null
  /** bigint: PostgreSQL's driver gives it as text. */
  readonly output_bytes: string
}

const COLUMNS = `id, kind, status, stage, stages, reason, timeout_seconds, pod_uid, claim_nonce_hash, report_credential_hash,
  order_started_at, stop_requested_at, started_at, ended_at, created_at, wait_reason, wait_detail, output_bytes`

type Db = pg.Pool | pg.PoolClient

export async function findSession(db: Db, id: string): Promise<SessionRow | undefined> {
  return (await db.query<SessionRow>(`select ${COLUMNS} from sessions where id = $1`, [id])).rows[0]
}

/** A row as the state machine reads it. */
export function stateOf({ status, stage, stages, reason, started_at: startedAt }: SessionRow): SessionState {
  return { status, stage, stages, reason, startedAt }
}

/** What control streams depend on. */
export async function findControlStates(
  db: Db,
  ids: readonly string[],
): Promise<{ id: string; status: SessionStatus; stop: boolean }[]> {
  const { rows } = await db.query<{ id: string; status: SessionStatus; stop: boolean }>(
    'select id, status, stop_requested_at is not null as stop from sessions where id = any($1)',
    [ids],
  )
  return rows
}

/** The row, held until the transaction ends. */
export async function lockSession(trx: pg.PoolClient, id: string): Promise<SessionRow | undefined> {
  return (await trx.query<SessionRow>(`select ${COLUMNS} from sessions where id = $1 for update`, [id])).rows[0]
}

export type ClaimResult =
  | {
      readonly outcome: 'claimed'
      readonly claim: Omit<ClaimResponse, 'order' | 'fetchPolicy' | 'reportCredential'>
      readonly ciphertext: Buffer | null
    }
  /**
   * There is nothing to run, and never will be for this launch: no such session, or it has ended, or is to be stopped
   * before it began, or another life of the same launch holds it.
   */
  | { readonly outcome: 'nothing' }
  /** Another launch holds it, or is to have it. */
  | { readonly outcome: 'conflict' }

/** Gives a session to one launch. The same launch with the same nonce may repeat it; each time the credential is replaced. */
export async function claimSession(
  pool: pg.Pool,
  launched: Identified,
  hashes: { readonly nonce: Buffer; readonly credential: Buffer },
): Promise<ClaimResult> {
  return withTransaction(pool, async (trx) => {
    const row = await lockSession(trx, launched.sessionId)
    if (row === undefined) return { outcome: 'nothing' }
    const refusal = refusalOf(row, launched, hashes.nonce)
    if (refusal !== undefined) return { outcome: refusal }
    const fresh = row.pod_uid === null
    const stages = fresh ? advance(row.stages, new Date()) : row.stages
    await trx.query(
      `update sessions set pod_uid = $2, claim_nonce_hash = $3, report_credential_hash = $4,
         claimed_at = coalesce(claimed_at, now()), status = $5, stages = $6, wait_reason = null, wait_detail = null,
         updated_at = now() where id = $1`,
      [
        row.id,
        launched.podUid,
        hashes.nonce,
        hashes.credential,
        fresh ? 'starting' : row.status,
        JSON.stringify(stages),
      ],
    )
    if (launched.address) await upsertEndpoint(trx, launched)
    const started = row.order_started_at !== null
    const claim = { sessionId: row.id, podUid: launched.podUid, started, timeoutSeconds: row.timeout_seconds }
    return { outcome: 'claimed', claim, ciphertext: started ? null : await findOrder(trx, row.id) }
  })
}

/** Why this launch may not have the session; undefined when it may. */
function refusalOf(row: SessionRow, launched: Identified, nonceHash: Buffer): 'nothing' | 'conflict' | undefined {
  // A terminal that brings its own ttyd has no host that could claim it.
  if (isFinal(row.status) || row.kind === 'ttyd') return 'nothing'
  if (row.pod_uid === launched.podUid) return row.claim_nonce_hash?.equals(nonceHash) === true ? undefined : 'nothing'
  if (row.pod_uid !== null) return 'conflict'
  if (row.stop_requested_at !== null) return 'nothing'
  // A pod that is on its way out would begin what it cannot finish; the next one begins it.
  return launched.fault === undefined ? undefined : 'conflict'
}

async function findOrder(trx: pg.PoolClient, id: string): Promise<Buffer> {
  const found = await trx.query<{ ciphertext: Buffer }>('select ciphertext from session_orders where session_id = $1', [
    id,
  ])
  if (found.rows[0] === undefined) throw new Error('an open session that was not started has no order')
  return found.rows[0].ciphertext
}

/** Writes where a session's host listens; only for the launch that holds the claim of an open session. */
export async function upsertEndpoint(db: Db, { sessionId, podUid, address }: Identified): Promise<void> {
  // The lock waits for a session that is just ending, whose endpoint must not come back.
  await db.query(
    `insert into session_endpoints (session_id, pod_ip, port, pod_uid)
     select id, $3, $4, pod_uid from sessions where id = $1 and pod_uid = $2 and status = any($5) for share
     on conflict (session_id) do update
       set pod_ip = excluded.pod_ip, port = excluded.port, pod_uid = excluded.pod_uid, updated_at = now()`,
    [sessionId, podUid, address?.host, address?.port, OPEN_STATUSES],
  )
}

/** Notes that the host has what it needs, and deletes the order. Returns false when the session has ended. */
export async function markStarted(pool: pg.Pool, id: string): Promise<boolean> {
  return withTransaction(pool, async (trx) => {
    const { rowCount } = await trx.query(
      `update sessions set order_started_at = coalesce(order_started_at, now()), updated_at = now()
       where id = $1 and status = any($2)`,
      [id, OPEN_STATUSES],
    )
    await trx.query('delete from session_orders where session_id = $1', [id])
    return rowCount === 1
  })
}

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
    const row = await lockSession(trx, id)
    if (row === undefined) return {}
    const change = applyEvent(stateOf(row), event, options.now)
    if (change === undefined) return {}
    if (change.end !== undefined) {
      await finishSession(trx, id, { ...change, end: change.end }, options.retentionSeconds)
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
export async function finishSession(
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

export interface OutputChunk {
  readonly offset: number
  readonly bytes: Buffer
  readonly columns: number
  readonly rows: number
}

/**
 * Appends output: bytes that are there are dropped, a gap changes nothing. Beyond `maxBytes` bytes are counted but not
 * kept; one line in the log says so. Returns the offset that is wanted next.
 */
export async function appendOutput(pool: pg.Pool, id: string, chunk: OutputChunk, maxBytes: number): Promise<number> {
  return withTransaction(pool, async (trx) => {
    const found = await trx.query<{ output_bytes: string }>(
      'select output_bytes from sessions where id = $1 for update',
      [id],
    )
    const have = Number(found.rows[0]?.output_bytes ?? 0)
    const end = chunk.offset + chunk.bytes.length
    if (found.rows.length === 0 || chunk.offset > have || end <= have) return have
    const fresh = chunk.bytes.subarray(have - chunk.offset)
    const kept = fresh.subarray(0, Math.max(0, maxBytes - have))
    if (kept.length > 0) await insertOutput(trx, id, have, { ...chunk, bytes: kept })
    if (kept.length < fresh.length) {
      await insertOutput(trx, id, maxBytes, { ...chunk, bytes: Buffer.from(capMarker(maxBytes)) })
    }
    await trx.query('update sessions set output_bytes = $2, updated_at = now() where id = $1', [id, end])
    return end
  })
}

async function insertOutput(trx: pg.PoolClient, id: string, offset: number, chunk: OutputChunk): Promise<void> {
  await trx.query(
    `insert into session_output (session_id, start_offset, data, columns, rows) values ($1, $2, $3, $4, $5)
     on conflict (session_id, start_offset) do nothing`,
    [id, offset, chunk.bytes, chunk.columns, chunk.rows],
  )
}

function capMarker(maxBytes: number): string {
  return `\r\n\x1b[0m[cliscale] the log is full: it keeps the first ${maxBytes} bytes of output\r\n`
}
