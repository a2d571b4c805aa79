/** Everything the gateway says to PostgreSQL. Each statement fits the grants of the role `cliscale_gateway`. */
import type { Mode, Reason, SessionStatus, Stage, StageEntry } from '@cliscale/contract'
import { toFault } from '@cliscale/service-kit'
import type { Pool, QueryResultRow } from 'pg'

export interface Endpoint {
  readonly address: string
  readonly port: number
}

/** What the gateway knows about a session. */
export interface SessionState {
  readonly id: string
  readonly kind: 'runner' | 'ttyd'
  readonly status: SessionStatus
  readonly stage: Stage | null
  readonly stages: readonly StageEntry[]
  readonly reason: Reason | null
  readonly detail: string | null
  readonly exitCode: number | null
  readonly signal: string | null
  readonly launchId: string | null
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly startedAt: Date | null
  readonly endedAt: Date | null
  /** Where the session's terminal listens; undefined: not known yet, which never means that it is gone. */
  readonly endpoint: Endpoint | undefined
}

/** The right to one terminal, and what proves it to the session's host. */
export interface Grant {
  readonly viewer: string
  readonly mode: Mode
  readonly assertion: string
  readonly session: SessionState
}

export interface OutputRow {
  readonly offset: number
  readonly data: Buffer
  readonly columns: number
  readonly rows: number
}

export interface Store {
  /** Uses a token up. undefined: it was used before, or never written. `live` is false when it was too late. */
  consumeToken(jti: string, sessionId: string): Promise<{ live: boolean; grant: Grant | undefined } | undefined>
  /** Uses a token up and makes its viewer, in one transaction. */
  redeemToken(redeem: {
    jti: string
    sessionId: string
    secretHash: Buffer
    ttlSeconds: number
  }): Promise<{ live: boolean; grant: Grant | undefined } | undefined>
  /** Viewers of a session, by their ids, newest first; revoked and expired ones are left out. */
  findViewers(sessionId: string, ids: readonly string[]): Promise<readonly (Grant & { secretHash: Buffer })[]>
  findSessions(ids: readonly string[]): Promise<ReadonlyMap<string, SessionState>>
  /** End of the stored output, in bytes. */
  outputEnd(sessionId: string): Promise<number>
  /** Start of the first chunk at or after `offset`; undefined when none is. */
  firstChunkFrom(sessionId: string, offset: number): Promise<number | undefined>
  /** Start of the chunk that holds `offset`; undefined when none starts at or before it. */
  chunkHolding(sessionId: string, offset: number): Promise<number | undefined>
  /** Chunks that start at or after `offset`, in order, at most `limit`. */
  readOutput(sessionId: string, offset: number, limit: number): Promise<readonly OutputRow[]>
}

const STATE_COLUMNS = `s.id, s.kind, s.status, s.stage, s.stages, s.reason, s.detail, s.exit_code, s.signal, s.pod_uid,
  s.created_at, s.updated_at, s.started_at, s.ended_at, s.pod_ip, s.port`

const CONSUME = `
  with used as (
    delete from token_jti where jti = $1 and session_id = $2
    returning session_id, mode, viewer_id, assertion, expires_at > now() as live
  )
  select used.viewer_id as viewer, used.mode, used.assertion, used.live, ${STATE_COLUMNS}
  from used left join session_states s on s.id = used.session_id`

const REDEEM = `
  with used as (
    delete from token_jti where jti = $1 and session_id = $2
    returning session_id, mode, viewer_id, assertion, expires_at > now() as live
  ), made as (
    insert into session_viewers (id, session_id, mode, secret_hash, assertion, expires_at)
    select used.viewer_id, s.id, used.mode, $3, used.assertion, now() + make_interval(secs => $4)
    from used join session_states s on s.id = used.session_id where used.live
  )
  select used.viewer_id as viewer, used.mode, used.assertion, used.live, ${STATE_COLUMNS}
  from used left join session_states s on s.id = used.session_id`

const VIEWERS = `
  select v.id as viewer, v.mode, v.assertion, v.secret_hash, ${STATE_COLUMNS}
  from session_viewers v join session_states s on s.id = v.session_id
  where v.session_id = $1 and v.id = any($2::uuid[]) and v.revoked_at is null and v.expires_at > now()
  order by v.created_at desc`

export function createStore(pool: Pool): Store {
  const query = async <R extends QueryResultRow>(sql: string, values: unknown[]): Promise<R[]> => {
    try {
      return (await pool.query<R>(sql, values)).rows
    } catch (error) {
      throw toFault(error)
    }
  }
  const offsetOf = async (sql: string, values: unknown[]): Promise<number | undefined> => {
    const [row] = await query<{ offset: string | null }>(sql, values)
    return row?.offset == null ? undefined : Number(row.offset)
  }
  return {
    consumeToken: async (jti, sessionId) => used(await query<UsedRow>(CONSUME, [jti, sessionId])),
    redeemToken: async ({ jti, sessionId, secretHash, ttlSeconds }) =>
      used(await query<UsedRow>(REDEEM, [jti, sessionId, secretHash, ttlSeconds])),
    findViewers: async (sessionId, ids) => {
      const rows = await query<GrantRow & { secret_hash: Buffer }>(VIEWERS, [sessionId, ids])
      return rows.map((row) => ({ ...toGrant(row), secretHash: row.secret_hash }))
    },
    findSessions: async (ids) => {
      const sql = `select ${STATE_COLUMNS} from session_states s where s.id = any($1::uuid[])`
      return new Map((await query<StateRow>(sql, [ids])).map((row) => [row.id, toState(row)]))
    },
    outputEnd: async (id) =>
      (await offsetOf(
        `select start_offset + length(data) as "offset" from session_output where session_id = $1
         order by start_offset desc limit 1`,
        [id],
      )) ?? 0,
    firstChunkFrom: (id, offset) =>
      offsetOf(
        `select min(start_offset) as "offset" from session_output where session_id = $1 and start_offset >= $2`,
        [id, offset],
      ),
    chunkHolding: (id, offset) =>
      offsetOf(
        `select max(start_offset) as "offset" from session_output where session_id = $1 and start_offset <= $2`,
        [id, offset],
      ),
    readOutput: async (id, offset, limit) => {
      const sql = `select start_offset, data, columns, rows from session_output
        where session_id = $1 and start_offset >= $2 order by start_offset limit $3`
      const rows = await query<{ start_offset: string; data: Buffer; columns: number; rows: number }>(sql, [
        id,
        offset,
        limit,
      ])
      return rows.map((row) => ({
        offset: Number(row.start_offset),
        data: row.data,
        columns: row.columns,
        rows: row.rows,
      }))
    },
  }
}

interface StateRow {
  id: string
  kind: 'runner' | 'ttyd'
  status: SessionStatus
  stage: Stage | null
  stages: StageEntry[]
  reason: Reason | null
  detail: string | null
  exit_code: number | null
  signal: string | null
  pod_uid: string | null
  created_at: Date
  updated_at: Date
  started_at: Date | null
  ended_at: Date | null
  pod_ip: string | null
  port: number | null
}
interface GrantRow extends StateRow {
  viewer: string
  mode: Mode
  assertion: string
}
interface UsedRow extends Omit<GrantRow, 'id'> {
  live: boolean
  id: string | null
}

function used(rows: readonly UsedRow[]): { live: boolean; grant: Grant | undefined } | undefined {
  const [row] = rows
  if (row === undefined) return undefined
  return { live: row.live, grant: row.id === null ? undefined : toGrant({ ...row, id: row.id }) }
}

function toGrant(row: GrantRow): Grant {
  return { viewer: row.viewer, mode: row.mode, assertion: row.assertion, session: toState(row) }
}

function toState(row: StateRow): SessionState {
  return {
    id: row.id,
    kind: row.kind,
    status: row.status,
    stage: row.stage,
    stages: row.stages,
    reason: row.reason,
    detail: row.detail,
    exitCode: row.exit_code,
    signal: row.signal,
    launchId: row.pod_uid,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    endpoint: row.pod_ip === null || row.port === null ? undefined : { address: row.pod_ip, port: row.port },
  }
}
