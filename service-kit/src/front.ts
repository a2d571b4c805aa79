/** What a request looks like from outside, as far as trusted proxies tell: scheme, origin, address of the client. */
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'

export interface Front {
  /** Whether the caller reached us by https. */
  isSecure(req: IncomingMessage): boolean
  /** The origin that is ours for this request, such as `https://cliscale.example`; undefined without a usable Host. */
  origin(req: IncomingMessage): string | undefined
  /** What our links begin with: the origin, and the path under which a proxy serves us. */
  base(req: IncomingMessage): string | undefined
  /** Address of the client: of the socket, or the one that the outermost trusted proxy saw. */
  address(req: IncomingMessage): string
}

/** @param options.trustedProxyHops how many proxies in front of us append to the X-Forwarded headers; 0 ignores them. */
export function createFront(options: { publicUrl?: string | undefined; trustedProxyHops: number }): Front {
  const publicOrigin = options.publicUrl === undefined ? undefined : new URL(options.publicUrl).origin
  const forwarded = (req: IncomingMessage, name: string): string | undefined =>
    fromRight(req.headers[name], options.trustedProxyHops)
  const isSecure = (req: IncomingMessage): boolean => {
    if (publicOrigin?.startsWith('https:')) return true
    const proto = forwarded(req, 'x-forwarded-proto')
    // Some proxies name the WebSocket scheme.
    if (proto !== undefined) return /^(https|wss)$/i.test(proto)
    return (req.socket as TLSSocket).encrypted === true
  }
  return {
    isSecure,
    origin: (req) => publicOrigin ?? hostOrigin(isSecure(req) ? 'https' : 'http', req.headers.host),
    base: (req) => options.publicUrl ?? hostOrigin(isSecure(req) ? 'https' : 'http', req.headers.host),
    address: (req) => forwarded(req, 'x-forwarded-for') ?? req.socket.remoteAddress ?? '',
  }
}

/** The value that the outermost trusted proxy added. A list shorter than the hops was not made by all of them: its first. */
function fromRight(header: string | string[] | undefined, hops: number): string | undefined {
  if (hops === 0 || header === undefined) return undefined
  const values = String(header)
    .split(',')
    .map((value) => value.trim())
  return values[Math.max(0, values.length - hops)]
}

function hostOrigin(scheme: string, host: string | undefined): string | undefined {
  if (host === undefined || !/^[A-Za-z0-9.:[\]_-]{1,255}$/.test(host)) return undefined
  try {
    return new URL(`${scheme}://${host}`).origin
  } catch {
    return undefined
  }
}

/** Whether a request may go on as far as its `Origin` says; a missing one passes only where that is allowed. */
export function isOwnOrigin(front: Front, req: IncomingMessage, options: { missingIsOwn: boolean }): boolean {
  const { origin } = req.headers
  return origin === undefined ? options.missingIsOwn : origin === front.origin(req)
}

/** A public address as links begin with it: no slash at its end. Undefined when it cannot be one. */
export function publicBase(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const { protocol, username, password, search, hash, origin, pathname } = new URL(text)
  if (!/^https?:$/.test(protocol) || [username, password, search, hash].some((part) => part !== '')) return undefined
  // Links stand in command lines that people paste.
  return /^(\/[\w.~-]+)*\/?$/.test(pathname) ? origin + pathname.replace(/\/$/, '') : undefined
}
