import { bareHost } from '@cliscale/contract/code-url'
import type { Dispatcher } from 'undici'
import { isSessionFailure, SessionFailure } from '../failure.ts'

const STATUS_HINTS: Partial<Record<number, string>> = {
  202: ': it is still preparing the file. Try again in a while.',
  204: ': there is nothing at this address. Check code_url.',
  205: ': there is nothing at this address. Check code_url.',
  206: ', only a part of the file, although the whole file was requested. Use another address.',
  304: ', "not modified", although the request named no earlier version. Try again, or use another address.',
  406: ': it gives the file only to other programs. Use another address.',
}

/** Of the server's own trouble, which may be over in a moment. */
const OVERLOADED = [500, 502, 503, 504]
/** How long to wait before a server that said so is asked again. One that asks for a longer wait is not asked again. */
const ASK_AGAIN_MS = { least: 1_000, most: 10_000 }

/** The cause of a failure by an answer that may be another soon. */
export interface AskAgain {
  readonly code: 'ASK_AGAIN'
  readonly status: number
  readonly waitMs: number
}

/** Undefined for an answer that will be the same, and for a server that wants more time. */
export function askAgain(status: number, retryAfter?: unknown): AskAgain | undefined {
  const wantedMs = retryAfter === undefined ? undefined : Number(retryAfter) * 1000
  // A date, or nonsense, or a rate limit without an end: not soon.
  if (wantedMs === undefined ? status === 429 : !(wantedMs >= 0 && wantedMs <= ASK_AGAIN_MS.most)) return undefined
  if (status !== 429 && !OVERLOADED.includes(status)) return undefined
  return { code: 'ASK_AGAIN', status, waitMs: Math.max(wantedMs ?? 0, ASK_AGAIN_MS.least) }
}

/** What an HTTP status other than 200 means for a person; also says when GitHub's rate limit ends. */
export function explainStatus(
  response: Dispatcher.ResponseData,
  url: URL,
  onStatus: (status: number) => SessionFailure | undefined = () => undefined,
): SessionFailure {
  const host = bareHost(url)
  const status = response.statusCode
  const limited = rateLimitReset(response.headers)
  const again = { cause: askAgain(status, response.headers['retry-after']) }
  if (status === 429 || (status === 403 && limited !== undefined))
    return new SessionFailure(
      'download_failed',
      `${host} answered ${status}: its rate limit is used up${limited === undefined ? '' : ` until ${limited}`}. Try again then.`,
      again,
    )
  const special = onStatus(status)
  if (special) return special
  if (status === 401 || status === 403)
    return new SessionFailure(
      'auth_required',
      `${host} answered ${status}: the code is private, or the signature of the URL has expired. Credentials are never sent; use a public address or a signed URL.`,
    )
  if (status === 404 || status === 410)
    return new SessionFailure(
      'download_failed',
      `${host} answered ${status}: there is nothing at this address, or it is private. Check code_url.`,
    )
  const hint =
    STATUS_HINTS[status] ??
    (status >= 500 ? ': the fault is on its side. Try again later.' : ' instead of the code. Check code_url.')
  return new SessionFailure('download_failed', `${host} answered ${status}${hint}`, again)
}

function rateLimitReset(headers: Dispatcher.ResponseData['headers']): string | undefined {
  const after = Number(headers['retry-after'])
  if (Number.isFinite(after) && after > 0) return new Date(Date.now() + after * 1000).toISOString()
  const reset = Number(headers['x-ratelimit-reset'])
  if (headers['x-ratelimit-remaining'] !== '0' || !Number.isFinite(reset)) return undefined
  const time = new Date(reset * 1000)
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString()
}

const SENTENCES: Record<string, string> = {
  ECONNREFUSED: 'refused the connection',
  ECONNRESET: 'closed the connection',
  EPIPE: 'closed the connection',
  EHOSTUNREACH: 'cannot be reached from here',
  ENETUNREACH: 'cannot be reached from here',
  UND_ERR_SOCKET: 'closed the connection',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'sent a different number of bytes than it announced',
  UND_ERR_HEADERS_OVERFLOW: 'sent headers that are too large',
}
/** Of a connection that broke; another may not. */
const BROKEN = ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH']

/** After a failure with which another try may go well. */
export interface SecondTry {
  readonly waitMs: number
  /** What was wrong with the first. */
  readonly because: string
}

/**
 * Undefined unless a failure is of a connection that broke, of bytes that arrived damaged, or of a server in passing
 * trouble.
 */
export function secondTry(error: unknown): SecondTry | undefined {
  if (!isSessionFailure(error)) return undefined
  const broken: SecondTry = { waitMs: 0, because: 'the download broke off or was damaged' }
  if (error.reason === 'archive_refused') return /^(broken|crc-mismatch):/.test(error.detail) ? broken : undefined
  const cause = (error.cause ?? {}) as AskAgain | { readonly code?: string }
  if (error.reason !== 'download_failed' || cause.code === undefined) return undefined
  if ('waitMs' in cause) return { waitMs: cause.waitMs, because: `the server answered ${cause.status}` }
  return BROKEN.includes(cause.code) ? broken : undefined
}

const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'])

/** Turns what undici, TLS or the socket threw into a SessionFailure; other faults of ours pass as they are. */
export function explainNetworkError(
  error: unknown,
  url: URL,
  signal: AbortSignal,
  body?: { bytes: number; announced: string | undefined },
): unknown {
  const inner = innermost(error)
  if (isSessionFailure(inner)) return inner
  // Whoever aborted says why.
  if (signal.aborted) return signal.reason
  const code = String((inner as NodeJS.ErrnoException).code ?? '')
  const host = bareHost(url)
  if (['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES'].includes(code)) return inner
  if (TIMEOUTS.has(code)) return new SessionFailure('download_timeout', `${host} did not answer in time.`)
  const progress = body === undefined ? '' : `${received(body)}`
  const known = SENTENCES[code]
  if (known !== undefined)
    return new SessionFailure('download_failed', `${host} ${known}${progress}. Try again.`, { cause: inner })
  if (code.startsWith('HPE_'))
    return new SessionFailure('download_failed', `${host} sent an answer that is not valid HTTP (${code})${progress}.`)
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO)/.test(code))
    return new SessionFailure('download_failed', `The TLS certificate or connection of ${host} is not valid (${code}).`)
  return new SessionFailure(
    'download_failed',
    `The download from ${host} failed (${code || 'unknown error'})${progress}.`,
  )
}

function received(body: { bytes: number; announced: string | undefined }): string {
  return body.announced === undefined
    ? ` after ${body.bytes} bytes`
    : ` after ${body.bytes} of ${body.announced.slice(0, 20)} bytes`
}

/** The first cause that tells most: AggregateErrors of several addresses and wrapped lookups included. */
function innermost(error: unknown): unknown {
  let current = error
  for (let depth = 0; depth < 5; depth += 1) {
    const { errors, cause } = current as { errors?: readonly unknown[]; cause?: unknown }
    const next = errors?.[0] ?? cause
    if (isSessionFailure(current) || next === undefined || next === null) break
    current = next
  }
  return current
}
