import { DARK_COLOURS, DEFAULT_SIZE, V1_PROTOCOL } from '@cliscale/contract/terminal'
import { reconnectDelayMs } from './backoff.ts'
import { Connection, type ConnectionDeps, type Screen, type Socket, systemClock } from './connection.ts'
import { InputStream } from './input-stream.ts'
import { createViewerApi } from './viewer-api.ts'

/** What is set on a socket of the package `ws` so that it behaves as a browser's. */
interface NodeSocket {
  binaryType: string
  onerror: ((event: never) => void) | null
}

export interface NodeConnectionOptions extends Partial<Pick<ConnectionDeps, 'onState' | 'retryDelayMs'>> {
  /** Where the gateway is, such as `https://cliscale.example`. */
  readonly base: string
  readonly sessionId: string
  /** The one-time token of a link. */
  readonly token: string
  /** Makes a WebSocket of the package `ws`: Node's own sends no cookie. */
  readonly openSocket: (
    url: string,
    protocol: string,
    options: { readonly headers: Record<string, string>; readonly perMessageDeflate: false },
  ) => NodeSocket
  /** Methods it leaves out are ignored. */
  readonly screen: Partial<Screen>
}

const nothing = (): void => {}

/**
 * The page's connection for a Node program without a window: what a browser does by itself (the cookie, the origin) is
 * done here. Returned unstarted: the caller calls `start` and `close`.
 */
export function createNodeConnection({ base, sessionId, token, screen, ...given }: NodeConnectionOptions): Connection {
  const { origin } = new URL(base)
  const sessionPath = `${origin}/ws/${encodeURIComponent(sessionId)}`
  const headers: Record<string, string> = { origin }
  const request: typeof fetch = async (url, init) => {
    const response = await fetch(url, {
      ...init,
      headers: { ...(init?.headers as Record<string, string>), ...headers },
    })
    const [cookie] = response.headers.getSetCookie()
    if (cookie !== undefined) headers['cookie'] = cookie.split(';', 1)[0]!
    return response
  }
  return new Connection({
    token,
    api: createViewerApi(sessionPath, request, Date.now),
    openSocket: (viewer) => {
      const url = `${sessionPath.replace('http', 'ws')}?viewer=${encodeURIComponent(viewer)}`
      const socket = given.openSocket(url, V1_PROTOCOL, { headers, perMessageDeflate: false })
      socket.binaryType = 'arraybuffer'
      // Its close says the same; without a listener the error would end the process.
      socket.onerror = nothing
      return socket as unknown as Socket
    },
    memory: { viewer: undefined },
    screen: {
      reset: nothing,
      write: (_bytes, parsed) => parsed(),
      snapshot: (_bytes, parsed) => parsed(),
      resize: nothing,
      title: nothing,
      ...screen,
    },
    input: new InputStream({
      name: crypto.randomUUID(),
      onChange: nothing,
      onDropped: nothing,
      onLineCut: nothing,
    }),
    clock: systemClock,
    retryDelayMs: given.retryDelayMs ?? reconnectDelayMs,
    windowSize: () => DEFAULT_SIZE,
    colours: () => DARK_COLOURS,
    onState: given.onState ?? nothing,
    onMode: nothing,
    onDriver: nothing,
    onStatus: nothing,
    onPlain: nothing,
  })
}
