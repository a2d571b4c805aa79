import type { OutputTimes } from '@cliscale/contract'
import type pg from 'pg'
import { type Queryable, withTransaction } from '../db/database.ts'

/** Chunks of output behind an offset, in order; fewer than `limit` when there are no more yet. */
export async function findOutput(
  db: Queryable,
  sessionId: string,
  options: { readonly behind: string; readonly limit: number },
): Promise<{ offset: string; data: Buffer }[]> {
  const { rows } = await db.query<{ start_offset: string; data: Buffer }>(
    `select start_offset, data from session_output where session_id = $1 and start_offset > $2
     order by start_offset limit $3`,
    [sessionId, options.behind, options.limit],
  )
  return rows.map((row) => ({ offset: row.start_offset, data: row.data }))
}

export interface OutputChunk {
  readonly offset: number
  readonly bytes: Buffer
  readonly columns: number
  readonly rows: number
  /** When its bytes were read; undefined: a host of an earlier version does not say. */
  readonly times: OutputTimes | undefined
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
    const from = have - chunk.offset
    const fresh = chunk.bytes.subarray(from)
    const kept = fresh.subarray(0, Math.max(0, maxBytes - have))
    const times = chunk.times && timesOf(chunk.times, from, kept.length)
    if (kept.length > 0) await insertOutput(trx, id, have, { ...chunk, bytes: kept, times })
    if (kept.length < fresh.length) {
      await insertOutput(trx, id, maxBytes, { ...chunk, bytes: Buffer.from(capMarker(maxBytes)), times: undefined })
    }
    await trx.query('update sessions set output_bytes = $2, updated_at = now() where id = $1', [id, end])
    return end
  })
}

async function insertOutput(trx: pg.PoolClient, id: string, offset: number, chunk: OutputChunk): Promise<void> {
  await trx.query(
    `insert into session_output (session_id, start_offset, data, columns, rows, times) values ($1, $2, $3, $4, $5, $6)
     on conflict (session_id, start_offset) do nothing`,
    [
      id,
      offset,
      chunk.bytes,
      chunk.columns,
      chunk.rows,
      chunk.times === undefined ? null : JSON.stringify(chunk.times),
    ],
  )
}

/** The times of `length` bytes of a chunk, from byte `from` on, counted from there. */
function timesOf(times: OutputTimes, from: number, length: number): OutputTimes {
  const first = times.findLast(([byte]) => byte <= from)
  const later = times.filter(([byte]) => byte > from && byte < from + length)
  return [...(first ? [first] : []), ...later].map(([byte, timeMs]) => [Math.max(byte - from, 0), timeMs])
}

function capMarker(maxBytes: number): string {
  return `\r\n\x1b[0m[cliscale] the log is full: it keeps the first ${maxBytes} bytes of output\r\n`
}
