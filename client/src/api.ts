import type {
  CreateSessionRequest,
  CreateSessionResponse,
  CreateTokenRequest,
  Problem,
  SessionList,
  SessionView,
  TokenResponse,
} from '@cliscale/contract'
import { ApiError } from './api-error.ts'

export interface ApiOptions {
  /** Where the API is, such as `https://cliscale.example`. */
  readonly base: string
  readonly key: string
  readonly fetch?: typeof fetch
  /** A call without a whole answer after this long fails, in milliseconds. */
  readonly limitMs?: number
}

export interface CallOptions {
  readonly signal?: AbortSignal
}

/**
 * The calls of the public API. Each rejects with an ApiError, or with the reason of the `signal` that ended it. None is
 * repeated: whoever calls knows what may be done twice.
 */
export interface Api {
  create(
    request: CreateSessionRequest,
    options?: CallOptions & { readonly idempotencyKey?: string },
  ): Promise<CreateSessionResponse>
  get(sessionId: string, options?: CallOptions): Promise<SessionView>
  list(page?: { readonly limit?: number; readonly cursor?: string }, options?: CallOptions): Promise<SessionList>
  stop(sessionId: string, options?: CallOptions): Promise<SessionView>
  token(sessionId: string, mode?: CreateTokenRequest['mode'], options?: CallOptions): Promise<TokenResponse>
  /** What the session printed so far, escape sequences included. */
  logs(sessionId: string, options?: CallOptions): Promise<Uint8Array>
}

interface Call extends CallOptions {
  readonly method?: 'POST' | 'DELETE'
  readonly body?: unknown
  readonly idempotencyKey?: string
}

const DEFAULT_LIMIT_MS = 30_000

/** @throws TypeError for a key that no header can carry. */
export function createApi({ base, key, fetch: request = fetch, limitMs = DEFAULT_LIMIT_MS }: ApiOptions): Api {
  // fetch would repeat it in its message.
  if (!/^[!-~]+$/.test(key)) throw new TypeError('An API key is printable ASCII without spaces; this one is not')
  const root = base.replace(/\/+$/, '')

  const send = async (path: string, call: Call, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> => {
    const response = await request(`${root}/api/sessions${path}`, {
      method: call.method ?? 'GET',
      headers: {
        authorization: `Bearer ${key}`,
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(call.idempotencyKey === undefined ? {} : { 'idempotency-key': call.idempotencyKey }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      // The key is for this address only.
      redirect: 'manual',
      signal,
    })
    if (response.type === 'opaqueredirect') throw strange('a redirect')
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (response.ok) return bytes
    throw refusal(response, bytes, key)
  }
  const bytes = async (path: string, call: Call): Promise<Uint8Array<ArrayBuffer>> => {
    // Not AbortSignal.timeout: where only AbortSignal.any holds it, Node before 24 may collect it with its timer.
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new DOMException('', 'TimeoutError')), limitMs)
    try {
      return await send(path, call, call.signal ? AbortSignal.any([late.signal, call.signal]) : late.signal)
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason
      if (error instanceof ApiError) throw error
      throw noAnswer(error, root, limitMs)
    } finally {
      clearTimeout(timer)
    }
  }
  const json = async <T>(path: string, call: Call): Promise<T> => {
    const value = readObject(await bytes(path, call))
    if (value === undefined) throw strange('something other than a JSON object', 200)
    return value as T
  }
  const at = (sessionId: string): string => `/${encodeURIComponent(sessionId)}`

  return {
    create: (body, options = {}) => json('', { ...options, method: 'POST', body }),
    get: (sessionId, options = {}) => json(at(sessionId), options),
    list: ({ limit, cursor } = {}, options = {}) => {
      const query = new URLSearchParams()
      if (limit !== undefined) query.set('limit', String(limit))
      if (cursor !== undefined) query.set('cursor', cursor)
      return json(query.size > 0 ? `?${query.toString()}` : '', options)
    },
    stop: (sessionId, options = {}) => json(at(sessionId), { ...options, method: 'DELETE' }),
    token: (sessionId, mode = 'rw', options = {}) =>
      json(`${at(sessionId)}/token`, { ...options, method: 'POST', body: { mode } }),
    logs: (sessionId, options = {}) => bytes(`${at(sessionId)}/logs`, options),
  }
}

function refusal(response: Response, body: Uint8Array, key: string): ApiError {
  const { code, detail, errors } = (readObject(body) ?? {}) as Partial<Problem>
  const { status } = response
  if (typeof code !== 'string' || typeof detail !== 'string')
    return strange(`status ${status} and no problem document`, status)
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return new ApiError(code, detail.replaceAll(key, '…'), {
    status,
    field: errors?.[0]?.path,
    retryAfterSeconds: Number.isFinite(seconds) ? seconds : undefined,
  })
}

/** An answer that is not of CLI Scale: of a proxy in front of it, or of another server. */
function strange(what: string, status?: number): ApiError {
  const message = `The server answered with ${what}. Check that the address is that of CLI Scale.`
  return new ApiError('strange_answer', message, status === undefined ? {} : { status })
}

function noAnswer(error: unknown, root: string, limitMs: number): ApiError {
  const { name, cause } = error as { name?: string; cause?: { code?: string } }
  if (name === 'TimeoutError') return new ApiError('no_answer', `${root} did not answer within ${limitMs} ms.`)
  return new ApiError('unreachable', `${root} cannot be reached (${cause?.code ?? 'no connection'}).`)
}

function readObject(bytes: Uint8Array): object | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}
