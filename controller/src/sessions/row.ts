import type { Reason, SessionStatus, Stage } from '@cliscale/contract'
import type pg from 'pg'
import type { Queryable } from '../db/database.ts'
import type { BackendName } from '../launch/launcher.ts'
import type { SessionState, TimelineEntry } from './state.ts'

/** A row of `sessions` as those read it who change a session's state. */
export interface SessionRow {
  readonly id: string
  readonly kind: 'runner' | 'ttyd'
  readonly backend: BackendName
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

const COLUMNS = `id, kind, backend, status, stage, stages, reason, timeout_seconds, pod_uid, claim_nonce_hash,
  report_credential_hash, order_started_at, stop_requested_at, started_at, ended_at, created_at, wait_reason, wait_detail, output_bytes`

/** The row of a session; undefined when there is none. */
export async function findRow(db: Queryable, id: string): Promise<SessionRow | undefined> {
  return (await db.query<SessionRow>(`select ${COLUMNS} from sessions where id = $1`, [id])).rows[0]
}

/** A row as the state machine reads it. */
export function stateOf({ status, stage, stages, reason, started_at: startedAt }: SessionRow): SessionState {
  return { status, stage, stages, reason, startedAt }
}

/** The row, held until the transaction ends. */
export async function lockRow(trx: pg.PoolClient, id: string): Promise<SessionRow | undefined> {
  return (await trx.query<SessionRow>(`select ${COLUMNS} from sessions where id = $1 for update`, [id])).rows[0]
}
