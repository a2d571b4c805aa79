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
    let timer: NodeJS.Timeout | undefined
    const deadline = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('no answer in time')), CHECK_MS)
    })
    // When the deadline wins, what is still to fail has nobody else to hear it.
    const checks = Promise.all(options.checks.map((check) => check()))
    checks.catch(() => {})
    await Promise.race([checks, deadline]).finally(() => clearTimeout(timer))
  }
}
