const SESSION_PATH = /^\/ws\/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\/?$/i

/** What the page's address says. `sessionId` is undefined when the path is not one of a session. */
export interface PageAddress {
  readonly sessionId: string | undefined
  readonly token: string | undefined
  /** The address to show from now on: without the token. */
  readonly cleanPath: string
}

/** Reads the page's address. Only a UUID counts as an id: it is shown in command lines that people paste. */
export function readAddress(location: Pick<Location, 'pathname' | 'search'>): PageAddress {
  const token = new URLSearchParams(location.search).get('token')
  return {
    sessionId: SESSION_PATH.exec(location.pathname)?.[1]?.toLowerCase(),
    token: token === null || token === '' ? undefined : token,
    cleanPath: location.pathname,
  }
}

/** The curl line that makes a new link. */
export function newLinkCommand(origin: string, sessionId: string): string {
  return `curl -X POST ${origin}/api/sessions/${sessionId}/token -H "Authorization: Bearer $CLISCALE_API_KEY"`
}

/** The curl line that reads the whole log. */
export function logCommand(origin: string, sessionId: string): string {
  return `curl ${origin}/api/sessions/${sessionId}/logs -H "Authorization: Bearer $CLISCALE_API_KEY"`
}
