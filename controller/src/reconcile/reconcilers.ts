import type { Launchers } from '../launch/launcher.ts'
import { countOpenByBackend } from '../sessions/open-sessions.ts'
import { createReconciler, type Reconciler, type ReconcilerDeps } from './reconciler.ts'

/** As for one reconciler, but for several launchers. */
export interface ReconcilersDeps extends Omit<ReconcilerDeps, 'backend' | 'launcher'> {
  /** One of them is the default one, and that one's passes also remove what has expired. */
  readonly launchers: Launchers
}

/**
 * A reconciler for each launcher. They share nothing but the database: one whose launcher is away, refuses or hangs delays
 * no other. A session whose backend is none of these is left as it is, and mentioned in the log.
 */
export function createReconcilers(deps: ReconcilersDeps): Reconciler {
  const { launchers, ...shared } = deps
  const all = [...launchers].map(([backend, launcher]) => {
    const logger = backend === null ? deps.logger : deps.logger.child({ backend })
    const prune = backend === null ? () => pruneAll(deps) : () => Promise.resolve(0)
    return createReconciler({ ...shared, backend, launcher, logger, prune })
  })
  return {
    start: () => all.forEach((one) => one.start()),
    wake: () => all.forEach((one) => one.wake()),
    stopAll: async (reason, limitMs) => {
      const results = await Promise.allSettled(all.map((one) => one.stopAll(reason, limitMs)))
      const faults = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
      if (faults.length > 1) throw new AggregateError(faults, 'the sessions of several launchers could not be stopped')
      if (faults.length === 1) throw faults[0]
    },
    close: async () => void (await Promise.all(all.map((one) => one.close()))),
  }
}

/** When nothing is left to be removed, it is time to say who is waiting for a launcher that is not there. */
async function pruneAll({ launchers, logger, pool, prune }: ReconcilersDeps): Promise<number> {
  const removed = await prune()
  if (removed > 0) return removed
  const stranded = (await countOpenByBackend(pool)).filter(({ backend }) => !launchers.has(backend))
  if (stranded.length > 0) logger.warn({ stranded }, 'open sessions name a backend that has no launcher here')
  return 0
}
