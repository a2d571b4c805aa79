import type { Reason, SessionEvent } from '@cliscale/contract'
import type { Launcher } from '../launch/launcher.ts'

type Ended = SessionEvent & { type: 'ended' }

/** 128 + SIGKILL and 128 + SIGTERM, as shells report a child that was killed. */
const KILLED_EXIT_CODES = [137, 143]
/** Whose fault it is: of these the session's command is the cause. */
const FAILURES: readonly Reason[] = ['oom_killed', 'disk_full']

/** The host sees that something was killed; why, only the launcher can tell: memory, disk, the machine. */
export async function correctEnd(launcher: Launcher, sessionId: string, event: Ended): Promise<Ended> {
  const killed =
    event.signal === 'SIGKILL' ||
    event.signal === 'SIGTERM' ||
    KILLED_EXIT_CODES.includes(event.exitCode ?? 0) ||
    event.reason === 'runner_lost'
  if (!killed || (event.status !== 'failed' && event.status !== 'lost')) return event
  const launched = await launcher.list().catch(() => [])
  const fault = launched.find((entry) => entry.sessionId === sessionId && entry.fault)?.fault
  if (fault === undefined) return event
  return { ...event, ...fault, status: FAILURES.includes(fault.reason) ? 'failed' : 'lost' }
}
