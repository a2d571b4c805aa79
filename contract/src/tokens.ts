/** Names that the parties to our tokens must agree on (docs/design.md). Both kinds are RS256 with a `kid`. */

export const TOKEN_ISSUER = 'cliscale'
/** The session JWT: opens one terminal once. Claims: iss, aud, sub, sid, jti, mode, iat, exp. */
export const SESSION_TOKEN = { audience: 'cliscale-ws', type: 'cliscale-session+jwt', ttlSeconds: 300 } as const
/** The attach assertion: what a gateway shows to a session's host. Claims: iss, aud, sid, mode, viewer, iat; no exp. */
export const ATTACH_ASSERTION = { audience: 'cliscale-host', type: 'cliscale-attach+jwt' } as const

export interface SessionTokenClaims {
  readonly sub: string
  readonly sid: string
  readonly jti: string
  readonly mode: 'rw' | 'ro'
}
export interface AttachClaims {
  readonly sid: string
  readonly mode: 'rw' | 'ro'
  readonly viewer: string
}

/** Clocks of two machines may differ by this much, in seconds. */
export const CLOCK_TOLERANCE_SECONDS = 60

/** NOTIFY channel of PostgreSQL: the payload is the id of a session whose status or endpoint changed. */
export const SESSION_CHANNEL = 'cliscale_session'
/** Largest token we read; longer ones are refused unparsed. */
export const MAX_TOKEN_CHARS = 4096

/** Session ids are lower-case UUIDs (RFC 9562). */
export const SESSION_ID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
