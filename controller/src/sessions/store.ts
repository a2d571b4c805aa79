import {
  factsOf,
  isFinal,
  OPEN_STATUSES,
  type Reason,
  type SessionStatus,
  type SessionView,
  type StageEntry,
} from '@cliscale/contract'
import type { Queryable } from '../db/database.ts'
import type { ImageKind } from './images.ts'

const OPEN = `('${OPEN_STATUSES.join("', '")}')`

interface SessionRow {
  readonly id: string
  readonly status: SessionStatus
  readonly reason: Reason | null
  readonly detail: string | null
  readonly exit_code: number | null
  readonly signal: string | null
  readonly stages: StageEntry[]
  readonly created_at: Date
  readonly started_at: Date | null
  readonly ended_at: Date | null
  readonly expires_at: Date | null
  readonly is_to_stop: boolean
}

const COLUMNS = `id, status, reason, detail, exit_code, signal, stages, created_at, started_at, ended_at, expires_at,
  exists (select from sessions s where s.id = session_states.id and s.stop_requested_at is not null) as is_to_stop`

const STOPPING = 'A stop was requested. The session is ending, which can take some seconds.'

export interface SessionInsert {
  readonly id: string
  readonly owner: string
  readonly kind: ImageKind
  readonly image: string | null
  readonly shownCodeUrl: string | null
  readonly timeoutSeconds: number
  readonly createdAt: Date
  /** null: there is no work order. */
  readonly ciphertext: Buffer | null
}

/** Writes a session that waits, and its work order if it has one. Part of the transaction that creates it. */
export async function insertSession(trx: Queryable, session: SessionInsert): Promise<void> {
  const stages: StageEntry[] = [{ name: 'queued', startedAt: session.createdAt.toISOString(), endedAt: null }]
  await trx.query(
    `with session as (
       insert into sessions (id, owner, status, stage, stages, code_url, timeout_seconds, created_at, updated_at, kind, image)
       values ($1, $2, 'queued', 'queued', $3, $4, $5, $6, $6, $8, $9) returning id
     )
     insert into session_orders (session_id, ciphertext)
     select id, $7::bytea from session where $7::bytea is not null`,
    [
      session.id,
      session.owner,
      JSON.stringify(stages),
      session.shownCodeUrl,
      session.timeoutSeconds,
      session.createdAt,
      session.ciphertext,
      session.kind,
      session.image,
    ],
  )
}

/** How many sessions of an owner are open. Holds off other creations of the owner until the transaction ends. */
export async function countOpenSessions(trx: Queryable, owner: string): Promise<number> {
  await trx.query("select pg_advisory_xact_lock(hashtext('cliscale quota'), hashtext($1))", [owner])
  const { rows } = await trx.query<{ open: number }>(
    `select count(*)::int as open from sessions where owner = $1 and status in ${OPEN}`,
    [owner],
  )
  return rows[0]!.open
}

/** A session of this owner; somebody else's is as good as none. */
export async function findSession(db: Queryable, owner: string, id: string): Promise<SessionView | undefined> {
  const { rows } = await db.query<SessionRow>(`select ${COLUMNS} from session_states where id = $1 and owner = $2`, [
    id,
    owner,
  ])
  return rows[0] && view(rows[0])
}

/** What a session of this owner is; undefined when there is none. */
export async function findKind(db: Queryable, owner: string, id: string): Promise<ImageKind | undefined> {
  const { rows } = await db.query<{ kind: ImageKind }>('select kind from sessions where id = $1 and owner = $2', [
    id,
    owner,
  ])
  return rows[0]?.kind
}

/** Where a list goes on: behind this session. `createdAt` has the database's microseconds. */
export interface ListPosition {
  readonly createdAt: string
  readonly id: string
}

/** Sessions of an owner, newest first, and where to go on when there are more. */
export async function listSessions(
  db: Queryable,
  owner: string,
  options: { readonly after: ListPosition | undefined; readonly limit: number },
): Promise<{ sessions: SessionView[]; next: ListPosition | undefined }> {
  const { rows } = await db.query<SessionRow & { position: string }>(
    `select ${COLUMNS}, to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as position
     from session_states where owner = $1 and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::uuid))
     order by created_at desc, id desc limit $4`,
    [owner, options.after?.createdAt ?? null, options.after?.id ?? null, options.limit + 1],
  )
  const page = rows.slice(0, options.limit)
  const last = page.at(-1)
  const next = rows.length > page.length && last ? { createdAt: last.position, id: last.id } : undefined
  return { sessions: page.map(view), next }
}

function isStopping(row: SessionRow): boolean {
  return row.is_to_stop && !isFinal(row.status)
}

function view(row: SessionRow): SessionView {
  const reason = row.reason === null ? undefined : factsOf(row.reason)
  return {
    sessionId: row.id,
    status: row.status,
    reason: row.reason,
    detail: isStopping(row) ? STOPPING : (row.detail ?? reason?.hint ?? null),
    retryable: isFinal(row.status) ? (reason?.retryable ?? null) : null,
    exitCode: row.exit_code,
    signal: row.signal,
    // As jsonb the keys of an entry have an order of their own.
    stages: row.stages.map(({ name, startedAt, endedAt }) => ({ name, startedAt, endedAt })),
    createdAt: row.created_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    endedAt: row.ended_at?.toISOString() ?? null,
    expiresAt: row.expires_at?.toISOString() ?? null,
  }
}
