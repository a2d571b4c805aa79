import {
  AppError,
  CLOCK_TOLERANCE_SECONDS,
  SESSION_ID_PATTERN,
  SESSION_TOKEN,
  type SessionTokenClaims,
  TOKEN_ISSUER,
} from '@cliscale/contract'
import type { JWTVerifyGetKey } from 'jose'
import { type CompactJws, isSignedBy, parseCompactJws, parseObject, type SigningKey } from './jws.ts'

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

export function createTokenVerifier(deps: { keys: JWTVerifyGetKey; now?: () => number }): TokenVerifier {
  const now = deps.now ?? Date.now
  return {
    verify: async (token, sessionId) => {
      const jws = parseCompactJws(token)
      if (jws === undefined || !isOurHeader(jws.header)) throw invalid()
      if (!isSignedBy(jws, await findKey(deps.keys, jws))) throw invalid()
      const claims = parseObject(jws.payload)
      if (claims === undefined) throw invalid()
      return checkClaims(claims, sessionId, Math.floor(now() / 1000))
    },
  }
}

function invalid(): AppError {
  return new AppError('token_invalid', {
    detail: 'The token does not open this session. Ask for a fresh one: POST /api/sessions/{id}/token.',
  })
}

/** Ours has these three names and no other: so no `crit`, `jwk`, `jku`, `x5u` or `b64` is ever looked at. */
function isOurHeader(header: CompactJws['header']): boolean {
  return (
    Object.keys(header).every((name) => name === 'alg' || name === 'typ' || name === 'kid') &&
    header['alg'] === 'RS256' &&
    header['typ'] === SESSION_TOKEN.type &&
    typeof header['kid'] === 'string' &&
    header['kid'].length > 0
  )
}

async function findKey(keys: JWTVerifyGetKey, jws: CompactJws): Promise<SigningKey> {
  const [head, payload, signature] = jws.parts
  try {
    const header = { alg: 'RS256', typ: SESSION_TOKEN.type, kid: String(jws.header['kid']) }
    return (await keys(header, { protected: head, payload, signature })) as SigningKey
  } catch (cause) {
    const code = (cause as { code?: string } | null)?.code
    // Two keys of one kid: which one is meant cannot be told.
    if (code === 'ERR_JWKS_NO_MATCHING_KEY' || code === 'ERR_JWKS_MULTIPLE_MATCHING_KEYS') throw invalid()
    throw new AppError('keys_unavailable', {
      detail: 'The token cannot be checked just now. Try again in a moment.',
      headers: { 'Retry-After': '5' },
      cause,
    })
  }
}

function checkClaims(claims: Record<string, unknown>, sessionId: string, now: number): SessionTokenClaims {
  const { iss, aud, sub, sid, jti, mode } = claims
  if (iss !== TOKEN_ISSUER || aud !== SESSION_TOKEN.audience || sid !== sessionId) throw invalid()
  if (typeof sub !== 'string' || sub === '' || typeof jti !== 'string' || !SESSION_ID_PATTERN.test(jti)) throw invalid()
  if (mode !== 'rw' && mode !== 'ro') throw invalid()
  checkTimes(claims, now)
  return { sub, sid, jti, mode }
}

function checkTimes({ iat, exp, nbf }: Record<string, unknown>, now: number): void {
  const soon = now + CLOCK_TOLERANCE_SECONDS
  if (!isInstant(iat) || iat > soon) throw invalid()
  if (!isInstant(exp) || exp <= iat || exp - iat > MAX_LIFE_SECONDS) throw invalid()
  if (nbf !== undefined && (!isInstant(nbf) || nbf > soon)) throw invalid()
  if (exp + CLOCK_TOLERANCE_SECONDS <= now) throw expired()
}

function isInstant(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

/** The token was good once. Also thrown when the database's clock, which rules, says so. */
export function expired(): AppError {
  return new AppError('token_expired', {
    detail: 'The token was good for five minutes and has expired. Ask for a fresh one: POST /api/sessions/{id}/token.',
  })
}
