import { setTimeout as sleep } from 'node:timers/promises'
import { type Reason, STOP_LIMITS } from '@cliscale/contract'
import type { Logger } from '@cliscale/service-kit'
import type pg from 'pg'
import type { BackendName, Launcher } from '../launch/launcher.ts'
import { endSession, requestStopOfAll } from '../sessions/lifecycle.ts'
import { findOpenSessions } from '../sessions/open-sessions.ts'

/** Part of the limit that hosts have to end their sessions; the rest is for killing. */
const GRACE_SHARE = STOP_LIMITS.machineMs / STOP_LIMITS.allMs
const CHECK_EVERY_MS = 100

/**
 * Ends all sessions of a backend: asks for it, ends those that nobody claimed, gives hosts a moment, then removes every
 * launch and ends what is still open. Nothing is launched meanwhile. The database may be away: processes are removed all
 * the same, and the next start finds out.
 */
export async function stopAll(
  deps: {
    readonly pool: pg.Pool
    readonly backend: BackendName
    readonly launcher: Launcher
    readonly logger: Logger
    readonly retentionSeconds: number
  },
  reason: Reason,
  limitMs: number,
): Promise<void> {
  const { pool, backend, launcher, logger, retentionSeconds } = deps
  const graceUntil = Date.now() + limitMs * GRACE_SHARE
  const end = (id: string, unclaimedOnly: boolean): Promise<boolean> =>
    endSession(pool, id, { status: 'stopped', reason, unclaimedOnly }, retentionSeconds)

  await attempt(logger, graceUntil, async () => {
    await requestStopOfAll(pool, backend, reason)
    for (const { id, kind, launchId } of await findOpenSessions(pool, backend)) {
      // A terminal of its own has no host that would end it.
      if (launchId === null || kind === 'ttyd') await end(id, kind === 'runner')
      else launcher.expectEnd(id)
    }
    while (Date.now() < graceUntil && (await findOpenSessions(pool, backend)).length > 0) await sleep(CHECK_EVERY_MS)
  })
  const launches = await launcher.list()
  const ids = new Set(launches.flatMap(({ sessionId }) => sessionId ?? []))
  const removed = Promise.allSettled([...ids].map((id) => launcher.remove(id)))
  const until = Date.now() + limitMs * (1 - GRACE_SHARE)
  const results = (await Promise.race([removed, sleep(until - Date.now(), undefined, { ref: false })])) ?? []
  for (const result of results)
    if (result.status === 'rejected') logger.error({ err: result.reason }, 'a session could not be removed')
  await attempt(logger, until, async () => {
    for (const { id } of await findOpenSessions(pool, backend)) await end(id, false)
  })
}

/** Runs something that needs the database, which may be away. */
async function attempt(logger: Logger, until: number, work: () => Promise<void>): Promise<void> {
  const patience = sleep(Math.max(0, until - Date.now()) + CHECK_EVERY_MS, undefined, { ref: false })
  const done = work().catch((err: unknown) => {
    logger.warn({ code: (err as { code?: string }).code }, 'sessions are stopped without the database')
  })
  await Promise.race([done, patience])
}
