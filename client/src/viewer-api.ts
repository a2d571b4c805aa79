import type { Mode, StatusMessage } from '@cliscale/contract/terminal'

/** Who this browser is for this session. `clockOffsetMs` is the server's clock minus ours, at best a second exact. */
export interface Viewer {
  readonly viewer: string
  readonly mode: Mode
  readonly clockOffsetMs: number
  /** What the session did when it was asked; undefined from a server that does not say. */
  readonly status?: StatusMessage
}

/** Why a session does not open for this browser. */
export type Refusal = 'link_used' | 'expired' | 'no_access' | 'not_found'

export type ViewerAnswer =
  | { readonly kind: 'viewer'; readonly viewer: Viewer }
  | { readonly kind: 'refused'; readonly why: Refusal }
  | { readonly kind: 'unreachable' }

export interface ViewerApi {
  /** Trades the one-time token for this browser's cookie. */
  redeem(token: string): Promise<ViewerAnswer>
  /** Asks who the cookie makes us; `viewer` chooses among several cookies. */
  find(viewer: string | undefined): Promise<ViewerAnswer>
}

/** A request that has no answer after this long counts as unreachable, in milliseconds. */
const REQUEST_LIMIT_MS = 10_000

const REFUSALS: Readonly<Record<string, Refusal>> = {
  link_used: 'link_used',
  token_used: 'link_used',
  token_expired: 'expired',
  token_invalid: 'no_access',
  unauthorized: 'no_access',
  origin_refused: 'no_access',
  session_not_found: 'not_found',
  not_found: 'not_found',
}

/** The HTTP half of the viewer's life at one session. Never rejects: what cannot be reached is an answer too. */
export function createViewerApi(sessionPath: string, request: typeof fetch, now: () => number): ViewerApi {
  const ask = async (path: string, init: RequestInit): Promise<ViewerAnswer> => {
    try {
      const response = await request(`${sessionPath}${path}`, {
        ...init,
        cache: 'no-store',
        credentials: 'same-origin',
        signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
      })
      return await readAnswer(response, now())
    } catch {
      return { kind: 'unreachable' }
    }
  }
  return {
    redeem: (token) =>
      ask('/redeem', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token }),
      }),
    find: (viewer) => ask(viewer === undefined ? '/viewer' : `/viewer?viewer=${encodeURIComponent(viewer)}`, {}),
  }
}

async function readAnswer(response: Response, now: number): Promise<ViewerAnswer> {
  if (response.ok) {
    const body = (await response.json()) as { viewer: string; mode: Mode } & Partial<StatusMessage>
    const date = Date.parse(response.headers.get('date') ?? '')
    return {
      kind: 'viewer',
      viewer: {
        viewer: body.viewer,
        mode: body.mode === 'ro' ? 'ro' : 'rw',
        clockOffsetMs: clockOffset(date, now),
        ...readStatus(body),
      },
    }
  }
  const code = await problemCode(response)
  const why = code === undefined ? undefined : REFUSALS[code]
  if (why !== undefined) return { kind: 'refused', why }
  if (response.status === 410) return { kind: 'refused', why: 'link_used' }
  if (response.status === 404) return { kind: 'refused', why: 'not_found' }
  // A busy or broken server is worth another attempt; any other refusal stays one.
  if (response.status >= 500 || response.status === 429 || response.status === 408) return { kind: 'unreachable' }
  return { kind: 'refused', why: 'no_access' }
}

function readStatus(body: Partial<StatusMessage>): { status?: StatusMessage } {
  const { status, since, stage = null, reason = null, hint = null } = body
  return status === undefined || since === undefined ? {} : { status: { status, since, stage, reason, hint } }
}

async function problemCode(response: Response): Promise<string | undefined> {
  try {
    const { code } = (await response.json()) as { code?: unknown }
    return typeof code === 'string' ? code : undefined
  } catch {
    return undefined
  }
}

/** The Date header is exact to a second: a difference below two is no difference. */
function clockOffset(serverMs: number, now: number): number {
  const offset = serverMs - now
  return Number.isFinite(offset) && Math.abs(offset) > 2000 ? offset : 0
}
