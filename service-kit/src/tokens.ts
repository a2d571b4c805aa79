import { AppError, CLOCK_TOLERANCE_SECONDS, isAppError, MAX_TOKEN_CHARS, TOKEN_ISSUER } from '@cliscale/contract'
import { type JWTPayload, jwtVerify, type JWTVerifyGetKey } from 'jose'

/** Kinds of tokens: what one is good for, another never is. */
export interface TokenKind {
  readonly audience: string
  /** The header's `typ`. */
  readonly type: string
}

/**
 * Checks a token that our controller signed (RS256, RFC 7519) and gives its claims. The signature, issuer, audience,
 * type and times are checked by jose; the claims of each kind, their lifetime included, are the caller's to check.
 * A token that two parsers could read in two ways is refused before that.
 *
 * @throws AppError `token_expired`; `token_invalid` for every other fault, without saying which; `keys_unavailable` when
 * `keys` fails by anything else than finding no single key.
 */
export async function verifyToken(
  token: string,
  keys: JWTVerifyGetKey,
  kind: TokenKind,
  nowMs: number,
): Promise<JWTPayload> {
  if (!isCanonical(token)) throw invalid()
  const findKey: JWTVerifyGetKey = async (header, jws) => {
    try {
      return await keys(header, jws)
    } catch (cause) {
      // Two keys of one kid: which one is meant cannot be told.
      if (['ERR_JWKS_NO_MATCHING_KEY', 'ERR_JWKS_MULTIPLE_MATCHING_KEYS'].includes(codeOf(cause))) throw invalid()
      if (isAppError(cause)) throw cause
      throw new AppError('keys_unavailable', {
        detail: 'The token cannot be checked right now. Try again in a moment.',
        headers: { 'Retry-After': '5' },
        cause,
      })
    }
  }
  try {
    const { payload } = await jwtVerify(token, findKey, {
      algorithms: ['RS256'],
      issuer: TOKEN_ISSUER,
      audience: kind.audience,
      typ: kind.type,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(nowMs),
    })
    // A list of audiences would be good for others as well.
    if (payload.aud !== kind.audience) throw invalid()
    return payload
  } catch (error) {
    if (isAppError(error)) throw error
    throw codeOf(error) === 'ERR_JWT_EXPIRED' ? expired() : invalid()
  }
}

function codeOf(error: unknown): string {
  return (error as { code?: string } | null)?.code ?? ''
}

const HEADER_NAMES = ['alg', 'kid', 'typ']

/**
 * Whether a token is written as our signer writes one: three parts of base64url without padding or spare bits, the first
 * two of JSON without spaces or a name twice, and a header with no other names than ours. So no `crit`, `jwk`, `jku`,
 * `x5u` or `b64` is ever looked at.
 */
function isCanonical(token: string): boolean {
  if (token.length > MAX_TOKEN_CHARS) return false
  const parts = token.split('.')
  const decoded = parts.map(decodeBase64Url)
  const [header, payload] = decoded.slice(0, 2).map((bytes) => bytes && parseObject(bytes))
  if (parts.length !== 3 || !header || !payload || decoded[2] === undefined) return false
  return Object.keys(header).sort().join() === HEADER_NAMES.join() && header['kid'] !== ''
}

function decodeBase64Url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const text = utf8.decode(bytes)
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject && JSON.stringify(value) === text ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function invalid(): AppError {
  return new AppError('token_invalid', {
    detail: 'The token does not open this session. Request a new one: POST /api/sessions/{id}/token.',
  })
}

/** The token was good once. */
export function expired(): AppError {
  return new AppError('token_expired', {
    detail: 'The token has expired: it is valid for five minutes. Request a new one: POST /api/sessions/{id}/token.',
  })
}
