/** The cookie of one viewer of one session: an opaque secret, of which the database has only the hash. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { SESSION_ID_PATTERN } from '@cliscale/contract'
import { parse, serialize } from 'cookie'
import type { Grant, Store } from '../store.ts'

const PREFIX = 'cs_'
/** One browser has few viewers of a session; more names than this are not looked up. */
const MAX_CANDIDATES = 16

export interface ViewerSecret {
  readonly secret: string
  readonly hash: Buffer
}

/** A fresh secret of 256 random bits. */
export function createViewerSecret(): ViewerSecret {
  const secret = randomBytes(32).toString('base64url')
  return { secret, hash: hashOf(secret) }
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/**
 * The Set-Cookie header of a viewer. It goes back to this session's paths only: without a Path, a browser takes the folder
 * of the request (`/ws/<id>/redeem`), as it sees it before a proxy that serves us under a path of its own.
 */
export function viewerCookie(options: {
  viewer: string
  secret: string
  isSecure: boolean
  ttlSeconds: number
}): string {
  return serialize(`${PREFIX}${options.viewer}`, options.secret, {
    httpOnly: true,
    sameSite: 'strict',
    secure: options.isSecure,
    maxAge: options.ttlSeconds,
  })
}

/** Viewer ids and secrets of a Cookie header; only the one of `viewer` when it is given. */
export function viewerCookies(header: string | undefined, viewer?: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const [name, secret] of Object.entries(parse(header ?? ''))) {
    const id = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : ''
    if (!SESSION_ID_PATTERN.test(id) || secret === undefined || (viewer !== undefined && id !== viewer)) continue
    if (found.size < MAX_CANDIDATES) found.set(id, secret)
  }
  return found
}

/** The newest viewer of a session that one of the cookies opens. */
export async function findCookieViewer(
  store: Store,
  sessionId: string,
  cookies: ReadonlyMap<string, string>,
): Promise<Grant | undefined> {
  if (cookies.size === 0) return undefined
  const viewers = await store.findViewers(sessionId, [...cookies.keys()])
  return viewers.find((viewer) => timingSafeEqual(viewer.secretHash, hashOf(cookies.get(viewer.viewer) ?? '')))
}
