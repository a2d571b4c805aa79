import { type ClaimResponse, isFinal, OPEN_STATUSES } from '@cliscale/contract'
import type pg from 'pg'
import { withTransaction } from '../db/database.ts'
import type { BackendName, Identified } from '../launch/launcher.ts'
import { upsertEndpoint } from './endpoints.ts'
import { lockRow, type SessionRow } from './row.ts'
import { advance } from './state.ts'

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
  /** Another launch holds it, or is to have it; or it runs with another backend than this launch. */
  | { readonly outcome: 'conflict' }

/**
 * Gives a session to one launch of its own backend: whoever can make pods in one cluster must not get the order of a
 * session of another by naming it. The same launch with the same nonce may repeat it; each time the credential is
 * replaced.
 */
export async function claimSession(
  pool: pg.Pool,
  backend: BackendName,
  launched: Identified,
  hashes: { readonly nonce: Buffer; readonly credential: Buffer },
): Promise<ClaimResult> {
  return withTransaction(pool, async (trx) => {
    const row = await lockRow(trx, launched.sessionId)
    if (row === undefined) return { outcome: 'nothing' }
    const refusal = refusalOf(row, backend, launched, hashes.nonce)
    if (refusal !== undefined) return { outcome: refusal }
    const fresh = row.pod_uid === null
    const stages = fresh ? advance(row.stages, new Date()) : row.stages
    await trx.query(
      `update sessions set pod_uid = $2, claim_nonce_hash = $3, report_credential_hash = $4,
         claimed_at = coalesce(claimed_at, now()), status = $5, stages = $6, wait_reason = null, wait_detail = null,
         updated_at = now() where id = $1`,
      [
        row.id,
        launched.launchId,
        hashes.nonce,
        hashes.credential,
        fresh ? 'starting' : row.status,
        JSON.stringify(stages),
      ],
    )
    if (launched.address) await upsertEndpoint(trx, launched)
    const started = row.order_started_at !== null
    const claim = { sessionId: row.id, podUid: launched.launchId, started, timeoutSeconds: row.timeout_seconds }
    return { outcome: 'claimed', claim, ciphertext: started ? null : await findOrder(trx, row.id) }
  })
}

/** Why this launch may not have the session; undefined when it may. */
function refusalOf(
  row: SessionRow,
  backend: BackendName,
  launched: Identified,
  nonceHash: Buffer,
): 'nothing' | 'conflict' | undefined {
  // A terminal that brings its own ttyd has no host that could claim it.
  if (isFinal(row.status) || row.kind === 'ttyd') return 'nothing'
  if (row.backend !== backend) return 'conflict'
  if (row.pod_uid === launched.launchId) return row.claim_nonce_hash?.equals(nonceHash) === true ? undefined : 'nothing'
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
