import { withDeadline } from '@cliscale/service-kit'
import type { Gateway } from './gateway.ts'

/** How long readiness waits for all of its checks, in milliseconds: less than a prober does. */
const CHECK_MS = 2_000

/**
 * Whether terminals can be opened here: rejects while the gateway leaves, and while a check fails or hangs. Liveness
 * asks none of this: a restart helps against none of it.
 */
export function createReadiness(options: {
  gateway: Pick<Gateway, 'isLeaving'>
  checks: readonly (() => Promise<unknown>)[]
}): () => Promise<void> {
  return async () => {
    if (options.gateway.isLeaving) throw new Error('leaving')
    const checks = Promise.all(options.checks.map((check) => check()))
    await withDeadline(checks, CHECK_MS, () => new Error('no answer in time'))
  }
}
