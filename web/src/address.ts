/** What a proxy may serve us under. Nothing that a shell reads: it is shown in command lines that people paste. */
const BASE = String.raw`((?:\/[\w.~-]+)*)`
const SESSION_PATH = new RegExp(
  String.raw`^${BASE}\/ws\/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\/?$`,
  'i',
)

/** What the page's address says. `sessionId` is undefined when the path is not one of a session. */
export interface PageAddress {
  readonly sessionId: string | undefined
  readonly token: string | undefined
  /** The path under which we are served, such as `/cli`; empty when it is ours alone. */
  readonly base: string
  /** The address to show from now on: without the token. */
  readonly cleanPath: string
}

/** Reads the page's address. Only a UUID counts as an id: it is shown in command lines that people paste. */
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

/** The path under which the landing page is served, without a slash at its end. */
export function baseOf(pathname: string): string {
  return new RegExp(`^${BASE}/?$`).exec(pathname)?.[1] ?? ''
}

/** The curl line that makes a new link; `base` is our address, such as `https://cliscale.example`. */
export function newLinkCommand(base: string, sessionId: string): string {
  return `curl -X POST ${base}/api/sessions/${sessionId}/token -H "Authorization: Bearer $CLISCALE_API_KEY"`
}

/** The curl line that reads the whole log. */
export function logCommand(base: string, sessionId: string): string {
  return `curl ${base}/api/sessions/${sessionId}/logs -H "Authorization: Bearer $CLISCALE_API_KEY"`
}
