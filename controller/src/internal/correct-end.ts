import { setTimeout as sleep } from 'node:timers/promises'
import type { Reason, SessionEvent } from '@cliscale/contract'
import type { Launcher, LaunchFault, LaunchReport } from '../launch/launcher.ts'

type Ended = SessionEvent & { type: 'ended' }

/** 128 + SIGKILL and 128 + SIGTERM, as shells report a child that was killed. */
const KILLED_EXIT_CODES = [137, 143]
/** Whose fault it is: of these the session's command is the cause. */
const FAILURES: readonly Reason[] = ['oom_killed', 'disk_full']
const LOOK_EVERY_MS = 200

/** Whether something was killed that may not have been killed by the command's own doing. */
function isKilled(report: LaunchReport): boolean {
  if (report.status !== 'failed' && report.status !== 'lost') return false
  return (
    report.signal === 'SIGKILL' ||
    report.signal === 'SIGTERM' ||
    KILLED_EXIT_CODES.includes(report.exitCode ?? 0) ||
    report.reason === 'runner_lost'
  )
}

/** A report with what was done to its launch in the place of what its host could see of that. */
export function correctReport<R extends LaunchReport>(report: R, fault: LaunchFault): R {
  if (!isKilled(report)) return report
  return { ...report, ...fault, status: FAILURES.includes(fault.reason) ? 'failed' : 'lost' }
}

/**
 * The host sees that something was killed; why, only the launcher can tell: memory, disk, the machine. Only what was done
 * to this very launch counts. Where the system tells it later than the host does (a pod's status follows its containers
 * by a second or two), it is waited for, for up to `patienceMs`.
 */
export async function correctEnd(
  launcher: Launcher,
  launch: { readonly sessionId: string; readonly podUid: string | null },
  event: Ended,
  patienceMs = 0,
): Promise<Ended> {
  if (!isKilled(event) || launch.podUid === null) return event
  const until = Date.now() + patienceMs
  for (;;) {
    const launched = await launcher.list().catch(() => [])
    const ours = launched.find((entry) => entry.sessionId === launch.sessionId && entry.podUid === launch.podUid)
    if (ours?.fault !== undefined) return correctReport(event, ours.fault)
    if (ours === undefined || Date.now() >= until) return event
    await sleep(LOOK_EVERY_MS)
  }
}
