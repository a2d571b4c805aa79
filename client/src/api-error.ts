import type { ErrorCode } from '@cliscale/contract'

export interface ApiErrorOptions {
  readonly status?: number
  readonly field?: string | undefined
  readonly retryAfterSeconds?: number | undefined
}

/**
 * A call that failed. `code` is that of the problem document, or: `strange_answer` (not one of CLI Scale),
 * `no_answer` (in time), `unreachable`. The message is for a person and never holds the key.
 */
export class ApiError extends Error {
  readonly code: ErrorCode | 'strange_answer' | 'no_answer' | 'unreachable'
  /** Of the answer; undefined when there was none. */
  readonly status: number | undefined
  /** The first field that is at fault, as a JSON path such as `env.PATH`. */
  readonly field: string | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(code: ApiError['code'], message: string, options: ApiErrorOptions = {}) {
    super(message)
    this.name = 'ApiError'
    this.code = code
    this.status = options.status
    this.field = options.field
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}
