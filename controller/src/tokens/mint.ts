import { randomUUID } from 'node:crypto'
import { ATTACH_ASSERTION, type AttachClaims, SESSION_TOKEN, type SessionTokenClaims } from '@cliscale/contract'
import type { Signer } from './signer.ts'

/** A one-time token, and the row that makes it good: without the row it opens nothing. */
export interface MintedToken {
  readonly jwt: string
  readonly expiresAt: Date
  readonly row: TokenRow
}

export interface TokenRow {
  readonly jti: string
  readonly sessionId: string
  readonly mode: 'rw' | 'ro'
  readonly viewerId: string
  readonly assertion: string
  readonly expiresAt: Date
}

/** Signs a session token and the attach assertion that whoever consumes it is given. The caller writes the row. */
export async function mintToken(
  signer: Signer,
  claims: { owner: string; sessionId: string; mode: 'rw' | 'ro'; now: Date },
): Promise<MintedToken> {
  const { owner, sessionId, mode, now } = claims
  const [jti, viewerId] = [randomUUID(), randomUUID()]
  const session: SessionTokenClaims = { sub: owner, sid: sessionId, jti, mode }
  const attach: AttachClaims = { sid: sessionId, mode, viewer: viewerId }
  const { type, audience, ttlSeconds } = SESSION_TOKEN
  const [jwt, assertion] = await Promise.all([
    signer.sign({ ...session }, { type, audience, expiresInSeconds: ttlSeconds, now }),
    signer.sign({ ...attach }, { ...ATTACH_ASSERTION, now }),
  ])
  // As whole seconds, like the claim `exp`.
  const expiresAt = new Date((Math.floor(now.getTime() / 1000) + ttlSeconds) * 1000)
  return { jwt, expiresAt, row: { jti, sessionId, mode, viewerId, assertion, expiresAt } }
}
