import { AppError, ATTACH_ASSERTION, type AttachClaims } from '@cliscale/contract'
import { verifyToken } from '@cliscale/service-kit/tokens'
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { z } from 'zod'

const Claims = z.object({ sid: z.uuid(), mode: z.enum(['rw', 'ro']), viewer: z.uuid() })

/** An unknown `kid` makes us ask for the keys again, but not more often than this. */
export const KEYS_COOLDOWN_MS = 10_000

/**
 * Checks viewers' assertions with the controller's public keys, which are fetched when they are needed and then kept
 * for good. Rejects what is not an assertion of ours for this session; AppError `keys_unavailable` when it cannot tell.
 */
export function createAssertionVerifier(options: {
  readonly sessionId: string
  readonly fetchKeys: () => Promise<JSONWebKeySet>
  readonly now?: () => number
}): (assertion: string) => Promise<AttachClaims> {
  const now = options.now ?? Date.now
  let keys: JWTVerifyGetKey | undefined
  let fetching: Promise<void> | undefined
  let triedAtMs = -Infinity

  const refresh = async (): Promise<void> => {
    const set = await options.fetchKeys().catch((cause: unknown) => {
      throw new AppError('keys_unavailable', { detail: 'The signing keys cannot be reached. Try again.', cause })
    })
    // Only a set that can be read takes the place of one that works.
    keys = createLocalJWKSet(set)
  }
  const refreshOnce = (): Promise<void> => {
    triedAtMs = now()
    fetching ??= refresh().finally(() => (fetching = undefined))
    return fetching
  }
  const getKey: JWTVerifyGetKey = async (header, token) => {
    if (keys === undefined) await refreshOnce()
    try {
      return await keys!(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      if (fetching === undefined && now() - triedAtMs < KEYS_COOLDOWN_MS) throw error
      await refreshOnce()
      return keys!(header, token)
    }
  }
  return async (assertion) => {
    const claims = Claims.parse(await verifyToken(assertion, getKey, ATTACH_ASSERTION, Date.now()))
    if (claims.sid !== options.sessionId) throw new Error('the assertion is for another session')
    return claims
  }
}
