import { AppError, CLOCK_TOLERANCE_SECONDS, SESSION_TOKEN, type SessionTokenClaims } from '@cliscale/contract'
import { verifyToken } from '@cliscale/service-kit/tokens'
import type { JWTVerifyGetKey } from 'jose'
import { z } from 'zod'

export interface TokenVerifier {
  /**
   * Checks a session JWT for one session and gives its claims. It does not consume it.
   *
   * @throws AppError `token_expired`; `token_invalid` for every other fault, without saying which; `keys_unavailable`
   * when the signing keys cannot be had.
   */
  verify(token: string, sessionId: string): Promise<SessionTokenClaims>
}

/** A token lives this long at most, in seconds: an `exp` far ahead of `iat` was not minted by us. */
const MAX_LIFE_SECONDS = 24 * 60 * 60

const instant = z.int().positive()
const Claims = z
  .object({
    sub: z.string().min(1),
    sid: z.uuid(),
    jti: z.uuid(),
    mode: z.enum(['rw', 'ro']),
    iat: instant,
    exp: instant,
    nbf: instant.optional(),
  })
  .refine(({ iat, exp }) => exp > iat && exp - iat <= MAX_LIFE_SECONDS)

export function createTokenVerifier(deps: { keys: JWTVerifyGetKey; now?: () => number }): TokenVerifier {
  const now = deps.now ?? Date.now
  return {
    verify: async (token, sessionId) => {
      const payload = await verifyToken(token, deps.keys, SESSION_TOKEN, now())
      const { data } = Claims.safeParse(payload)
      const isSoon = data !== undefined && data.iat <= Math.floor(now() / 1000) + CLOCK_TOLERANCE_SECONDS
      if (!isSoon || data.sid !== sessionId) throw new AppError('token_invalid', { detail: DOES_NOT_OPEN })
      return { sub: data.sub, sid: data.sid, jti: data.jti, mode: data.mode }
    },
  }
}

const DOES_NOT_OPEN = 'The token does not open this session. Request a new one: POST /api/sessions/{id}/token.'
