import type { Response } from 'express'

/** What is known about a request on its way; the one wide log line is made from it. */
export interface RequestContext {
  readonly requestId: string
  owner?: string
  sessionId?: string
  /** The code of the problem that was answered. */
  code?: string
  isReplay?: boolean
}

/** The context that `requestLog` made. */
export function contextOf(res: Response): RequestContext {
  return res.locals['context'] as RequestContext
}

/** The owner that `authenticate` found. */
export function ownerOf(res: Response): string {
  const { owner } = contextOf(res)
  if (owner === undefined) throw new TypeError('the route is not behind authenticate')
  return owner
}
