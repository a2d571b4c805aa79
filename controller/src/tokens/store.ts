import type { Queryable } from '../db/database.ts'
import type { TokenRow } from './mint.ts'

/** Writes the row of a token, which makes it good until it is used or expires. */
export async function insertToken(db: Queryable, token: TokenRow): Promise<void> {
  await db.query(
    `insert into token_jti (jti, session_id, mode, viewer_id, assertion, expires_at) values ($1, $2, $3, $4, $5, $6)`,
    [token.jti, token.sessionId, token.mode, token.viewerId, token.assertion, token.expiresAt],
  )
}
