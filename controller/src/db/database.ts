import { isStoreUnavailable } from '@cliscale/service-kit'
import type pg from 'pg'

/** What runs one statement: the pool, or the connection of a transaction. */
export interface Queryable {
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<pg.QueryResult<Row>>
}

/** How long a statement waits for a row that another transaction holds, in milliseconds. */
const LOCK_TIMEOUT_MS = 5_000

/**
 * Runs `work` in one transaction (READ COMMITTED) on one connection of the pool. Every query in it must use the
 * connection it is given: a second one, waited for while the first is held, can lock up the pool.
 *
 * @throws what `work` threw, after a rollback; a connection that is broken is closed, not returned to the pool.
 */
export async function withTransaction<T>(pool: pg.Pool, work: (trx: pg.PoolClient) => Promise<T>): Promise<T> {
  const trx = await pool.connect()
  // A connection that dies while it is checked out emits `error` beside failing its query; unheard, it ends the process.
  trx.on('error', unheard)
  let broken: Error | boolean = false
  try {
    await trx.query(`begin; set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
    const result = await work(trx)
    await trx.query('commit')
    return result
  } catch (error) {
    broken = await rollback(trx, error)
    throw error
  } finally {
    trx.off('error', unheard)
    trx.release(broken)
  }
}

/** Whether the connection is of no more use. A connection that does not answer is not asked to roll back. */
async function rollback(trx: pg.PoolClient, cause: unknown): Promise<boolean> {
  if (isStoreUnavailable(cause) && !isConnectionWell(cause)) return true
  try {
    await trx.query('rollback')
    return false
  } catch {
    return true
  }
}

/** The server itself ended the statement: it took too long (57014), its row stayed locked (55P03), or it met another. */
function isConnectionWell(error: unknown): boolean {
  return /^(57014|55P03|40...)$/.test((error as { code?: string }).code ?? '')
}

function unheard(): void {}
