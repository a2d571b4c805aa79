/** The path prefix of a proxy. No character that a shell interprets: people paste the commands that contain it. */
const BASE = String.raw`((?:\/[\w.~-]+)*)`
const SESSION_PATH = new RegExp(
  String.raw`^${BASE}\/ws\/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\/?$`,
  'i',
)

/** What the page's address says. `sessionId` is undefined when the path is not a session's. */
export interface PageAddress {
  readonly sessionId: string | undefined
  readonly token: string | undefined
  /** The path prefix under which we are served, such as `/cli`; empty when there is none. */
  readonly base: string
  /** The path without the token, for the address bar. */
  readonly cleanPath: string
}

/** Reads the page's address. Only a UUID counts as an id: people paste the commands that contain it. */
export function readAddress(location: Pick<Location, 'pathname' | 'search'>): PageAddress {
  const token = new URLSearchParams(location.search).get('token')
  const [, base = '', sessionId] = SESSION_PATH.exec(location.pathname) ?? []
  return {
    sessionId: sessionId?.toLowerCase(),
    base,
    token: token === null || token === '' ? undefined : token,
    cleanPath: location.pathname,
  }
}

/** The path prefix under which the landing page is served, without a trailing slash. */
export function baseOf(pathname: string): string {
  return new RegExp(`^${BASE}/?$`).exec(pathname)?.[1] ?? ''
}

/** The curl command that creates a new link; `base` is our address, such as `https://cliscale.example`. */
export function newLinkCommand(base: string, sessionId: string): string {
  return `curl -X POST ${base}/api/sessions/${sessionId}/token -H "Authorization: Bearer $CLISCALE_API_KEY"`
}

/** The curl command that reads the whole log. */
export function logCommand(base: string, sessionId: string): string {
  return `curl ${base}/api/sessions/${sessionId}/logs -H "Authorization: Bearer $CLISCALE_API_KEY"`
}
