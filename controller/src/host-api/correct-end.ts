import { setTimeout as sleep } from 'node:timers/promises'
import { factsOf, type FinalReport, type FinalStatus, type SessionEvent } from '@cliscale/contract'
import type { Launcher, LaunchFault } from '../launch/launcher.ts'

type Ended = SessionEvent & { type: 'ended' }

/** 128 + SIGKILL and 128 + SIGTERM, as shells report a child that was killed. */
const KILLED_EXIT_CODES = [137, 143]
const LOOK_EVERY_MS = 200
/** How long the first word of a fault may be followed by a surer one: a pod is deleted, and then the Job says why. */
const SETTLE_MS = 600
/** Where all the host can say is that work was ended, the launcher's word is worth this many times the wait. */
const LOST_PATIENCE = 3

/** Whether a session that has not begun may be launched again after this happened to its launch. */
export function isOfThePlace({ reason }: LaunchFault): boolean {
  return factsOf(reason).ofPlace === true
}

/** The status of a session that ended for something that was done to its launch. */
export function statusOfFault({ reason }: LaunchFault): FinalStatus {
  return factsOf(reason).status ?? 'failed'
}

/** Whether something was killed that may not have been killed by the command's own doing. */
function isKilled(report: FinalReport): boolean {
  if (report.status !== 'failed' && report.status !== 'lost') return false
  return (
    report.signal === 'SIGKILL' ||
    report.signal === 'SIGTERM' ||
    KILLED_EXIT_CODES.includes(report.exitCode ?? 0) ||
    report.reason === 'runner_lost'
  )
}

/** A report with what was done to its launch in the place of what its host could see of that. */
export function correctReport<R extends FinalReport>(report: R, fault: LaunchFault): R {
  if (!isKilled(report)) return report
  return { ...report, ...fault, status: statusOfFault(fault) }
}

/**
 * The host sees that something was killed; why, only the launcher can tell: memory, disk, the machine. Only what was done
 * to this very launch counts. Where the system tells it later than the host does (a pod's status follows its containers
 * by a second or two), it is waited for, for up to `patienceMs`.
 */
export async function correctEnd(
  launcher: Launcher,
  launch: { readonly sessionId: string; readonly launchId: string | null },
  event: Ended,
  patienceMs = 0,
): Promise<Ended> {
  if (!isKilled(event) || launch.launchId === null) return event
  const until = Date.now() + patienceMs * (event.reason === 'runner_lost' ? LOST_PATIENCE : 1)
  let settled = patienceMs > 0 ? Infinity : 0
  for (;;) {
    const launched = await launcher.list().catch(() => [])
    const ours = launched.find((entry) => entry.sessionId === launch.sessionId && entry.launchId === launch.launchId)
    if (ours === undefined) return event
    if (ours.fault !== undefined) settled = Math.min(settled, Date.now() + SETTLE_MS)
    const isTime = Date.now() >= Math.min(until, settled)
    if (isTime) return ours.fault === undefined ? event : correctReport(event, ours.fault)
    await sleep(LOOK_EVERY_MS)
  }
}
