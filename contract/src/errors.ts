/**
 * The error catalogue: one row per stable `code` (RFC 9457 problem documents).
 * docs/errors.md and the OpenAPI document are generated from it.
 */
interface CatalogueRow {
  readonly status: number
  readonly title: string
  /** Whether the same request can succeed later without a change. */
  readonly retryable: boolean
}

export const ERRORS = {
  body_required: { status: 400, title: 'A JSON body is required', retryable: false },
  json_invalid: { status: 400, title: 'The body is not valid JSON', retryable: false },
  body_not_object: { status: 400, title: 'The body must be a JSON object', retryable: false },
  unknown_field: { status: 400, title: 'A field is unknown', retryable: false },
  invalid_field: { status: 400, title: 'A field has a value that is not allowed', retryable: false },
  env_name: { status: 400, title: 'An environment variable has a name that is not allowed', retryable: false },
  env_too_large: { status: 400, title: 'The environment is too large', retryable: false },
  url_invalid: { status: 400, title: 'The URL cannot be read', retryable: false },
  url_too_long: { status: 400, title: 'The URL is too long', retryable: false },
  url_scheme: { status: 400, title: 'The URL has a scheme that is not allowed', retryable: false },
  url_credentials: { status: 400, title: 'The URL contains credentials', retryable: false },
  url_host: { status: 400, title: "The URL's host is not allowed", retryable: false },
  url_port: { status: 400, title: 'The URL has a port that is not allowed', retryable: false },
  checksum_required: { status: 400, title: 'A checksum is required', retryable: false },
  idempotency_key_invalid: { status: 400, title: 'The Idempotency-Key is not allowed', retryable: false },
  duplicate_header: { status: 400, title: 'A header was sent more than once', retryable: false },
  bad_request: { status: 400, title: 'The request cannot be read', retryable: false },
  unauthorized: { status: 401, title: 'An API key is required', retryable: false },
  token_invalid: { status: 401, title: 'The token is not valid', retryable: false },
  token_expired: { status: 401, title: 'The token has expired', retryable: false },
  token_used: { status: 401, title: 'The token was used before', retryable: false },
  origin_refused: { status: 403, title: 'The request comes from a page of another origin', retryable: false },
  host_refused: { status: 421, title: 'The Host header does not name this server', retryable: false },
  not_found: { status: 404, title: 'There is nothing at this address', retryable: false },
  session_not_found: { status: 404, title: 'There is no such session', retryable: false },
  method_not_allowed: { status: 405, title: 'The method is not allowed here', retryable: false },
  request_timeout: { status: 408, title: 'The request took too long to arrive', retryable: true },
  claim_conflict: { status: 409, title: 'Another pod holds this session', retryable: false },
  link_used: { status: 410, title: 'The link was used before', retryable: false },
  body_too_large: { status: 413, title: 'The body is too large', retryable: false },
  unsupported_media_type: { status: 415, title: 'The body must be application/json', retryable: false },
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key belongs to another request', retryable: false },
  upgrade_required: { status: 426, title: 'This address requires WebSocket version 13', retryable: false },
  rate_limited: { status: 429, title: 'Too many requests', retryable: true },
  quota_exceeded: { status: 429, title: 'Too many sessions at once', retryable: true },
  too_many_connections: { status: 503, title: 'Too many connections are being opened', retryable: true },
  headers_too_large: { status: 431, title: 'The request headers are too large', retryable: false },
  internal_error: { status: 500, title: 'Something failed inside CLI Scale', retryable: true },
  store_unavailable: { status: 503, title: 'The database cannot be reached', retryable: true },
  keys_unavailable: { status: 503, title: 'The signing keys cannot be reached', retryable: true },
  launcher_unavailable: { status: 503, title: 'The system that runs sessions cannot be reached', retryable: true },
  shutting_down: { status: 503, title: 'The server is shutting down', retryable: true },
} as const satisfies Record<string, CatalogueRow>
export type ErrorCode = keyof typeof ERRORS

/** A fault in one field of a request; `path` is a JSON path such as `env.PATH`. */
export interface FieldError {
  readonly path: string
  readonly message: string
}

/**
 * An error with a code of the catalogue. `detail` is shown to the caller: it names the field, the limit and what to
 * do, and never a secret. Branch on `code`, not on `instanceof` (it breaks across realms).
 */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly detail: string
  readonly errors: readonly FieldError[] | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
  constructor(
    code: ErrorCode,
    options: {
      detail: string
      errors?: readonly FieldError[]
      headers?: Readonly<Record<string, string>>
      cause?: unknown
    },
  ) {
    super(`${code}: ${options.detail}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.detail = options.detail
    this.errors = options.errors
    this.headers = options.headers
  }
}

/** Whether a thrown value is an AppError, from whatever realm. */
export function isAppError(error: unknown): error is AppError {
  return error instanceof Error && error.name === 'AppError' && (error as { code?: string }).code! in ERRORS
}

/** RFC 9457 problem document. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly instance: string
  readonly code: ErrorCode
  readonly errors?: readonly FieldError[]
}

/** The problem document of an error. Anything that is not an AppError becomes `internal_error` and says nothing from inside. */
export function toProblem(error: unknown, requestId: string): Problem {
  const known = isAppError(error) ? error : undefined
  const code: ErrorCode = known?.code ?? 'internal_error'
  const row = ERRORS[code]
  return {
    type: `https://cliscale.dev/errors#${code}`,
    title: row.title,
    status: row.status,
    detail:
      known?.detail ??
      'Something failed on our side. Try again; if it persists, give the operator the `instance` value.',
    instance: requestId,
    code,
    ...(known?.errors === undefined ? {} : { errors: known.errors }),
  }
}

/** WebSocket close codes of ours (RFC 6455 section 7.4.2 leaves 4000-4999 to applications) beside the standard ones. */
export const CLOSE = {
  normal: 1000,
  protocolError: 1002,
  invalidData: 1007,
  policy: 1008,
  tooBig: 1009,
  internal: 1011,
  restart: 1012,
  token: 4401,
  sessionGone: 4404,
} as const
