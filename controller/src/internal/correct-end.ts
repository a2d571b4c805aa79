import { REASONS, type SessionEvent } from '@cliscale/contract'
import type { Launcher } from '../launch/launcher.ts'

type Ended = SessionEvent & { type: 'ended' }

/** 128 + SIGKILL, as shells report a child that was killed. */
const KILLED_EXIT_CODE = 137

/** The host sees that something was killed; whether it was for its memory only the launcher can tell. */
export async function correctEnd(launcher: Launcher, sessionId: string, event: Ended): Promise<Ended> {
  const killed = event.signal === 'SIGKILL' || event.exitCode === KILLED_EXIT_CODE || event.reason === 'runner_lost'
  if (!killed || (event.status !== 'failed' && event.status !== 'lost')) return event
  const launched = await launcher.list().catch(() => [])
  if (!launched.some((entry) => entry.sessionId === sessionId && entry.oomKilled)) return event
  return { ...event, status: 'failed', reason: 'oom_killed', detail: REASONS.oom_killed.hint }
}
