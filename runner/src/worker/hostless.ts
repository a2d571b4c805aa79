import { LIMITS } from '@cliscale/contract'
import type { WorkState } from '../relay/messages.ts'

/** Without a host for this long before the order runs, nobody will bring one. */
export const IDLE_LIMIT_MS = 10 * 60 * 1000
/** Without a host for this long while it runs or waits to tell its end: the longest timeout of a session. */
export const HOSTLESS_LIMIT_MS = LIMITS.timeoutSeconds.max * 1000

/** Whether work, which has had no host since `sinceMs` (undefined: it has one), gives up. */
export function isAbandoned(state: WorkState, sinceMs: number | undefined, nowMs: number): boolean {
  const limitMs = state === 'waiting' || state === 'prepared' ? IDLE_LIMIT_MS : HOSTLESS_LIMIT_MS
  return sinceMs !== undefined && nowMs - sinceMs >= limitMs
}
