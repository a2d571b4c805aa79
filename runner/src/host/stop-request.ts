import type { StopCause } from '../relay/messages.ts'

/**
 * `work_gone`: there is nobody left to stop; what waits for work waits in vain. `server`: all sessions are to stop,
 * nobody asked for this one; to work it is a stop on request.
 */
export type StopReason = StopCause | 'work_gone' | 'server'

/** One request to stop, from whoever comes first. What waits for something else is broken off by `signal`. */
export class StopRequest {
  private readonly controller = new AbortController()
  private readonly listeners: (() => void)[] = []
  cause: StopReason | undefined

  get signal(): AbortSignal {
    return this.controller.signal
  }

  /** Later calls change nothing. */
  request(cause: StopReason): void {
    if (this.cause !== undefined) return
    this.cause = cause
    this.controller.abort(new Error('the session is being stopped'))
    for (const listener of this.listeners) listener()
  }

  /** Called once, at the request. */
  onRequest(listener: () => void): void {
    this.listeners.push(listener)
  }
}
