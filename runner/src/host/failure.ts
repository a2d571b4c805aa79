import type { Reason } from '@cliscale/contract'

/** Why a session cannot go on: a reason of the closed list and one sentence for a person, without secrets. */
export class SessionFailure extends Error {
  readonly reason: Reason
  readonly detail: string
  constructor(reason: Reason, detail: string, options?: { cause?: unknown }) {
    super(detail, options)
    this.name = 'SessionFailure'
    this.reason = reason
    this.detail = detail
  }
}

/** Whether a thrown value is a SessionFailure, from whatever realm. */
export function isSessionFailure(error: unknown): error is SessionFailure {
  return (error as Error | undefined)?.name === 'SessionFailure' && typeof (error as SessionFailure).reason === 'string'
}
