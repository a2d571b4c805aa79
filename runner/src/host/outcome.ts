import { type Exit, factsOf, REASONS, type Reason, type SessionEvent } from '@cliscale/contract'
import type { EndCause, WorkExit } from '../relay/messages.ts'
import type { StopReason } from './stop-request.ts'

export type EndedEvent = SessionEvent & { type: 'ended' }
type Verdict = Pick<EndedEvent, 'status' | 'reason' | 'detail'>

function failed(reason: Reason, detail: string): Verdict {
  return { status: 'failed', reason, detail }
}

function lost(detail: string): Verdict {
  return { status: 'lost', reason: 'runner_lost', detail }
}

const STOPPED: Record<EndCause | StopReason, (timeoutSeconds: number) => Verdict> = {
  user: () => ({ status: 'stopped', reason: 'stopped_by_user', detail: 'The session was stopped on request.' }),
  server: () => ({ status: 'stopped', reason: 'server_stopped', detail: REASONS.server_stopped.hint }),
  deadline: (limit) => ({
    status: 'expired',
    reason: 'deadline',
    detail: `The command ran longer than its timeout_seconds (${limit}) and was ended.`,
  }),
  install_limit: () =>
    failed(
      'install_failed',
      'The install command exceeded its time limit and was stopped. Use code that installs in less time.',
    ),
  // Whatever its exit code is, it did not end by itself. Why, the controller may know.
  system: () => lost('The system ended the session while its command ran.'),
  work_gone: () => lost('The process that runs the command was ended before the command could end.'),
}

function judge(exit: WorkExit, timeoutSeconds: number, cause: StopReason | undefined): Verdict {
  if (exit.stopped === 'user' && cause === 'server') return STOPPED.server(timeoutSeconds)
  if (exit.stopped !== null) return STOPPED[exit.stopped](timeoutSeconds)
  if (exit.failure !== null) return failed(exit.failure.reason, exit.failure.detail)
  const ran = exit.ran === undefined ? '' : ` (${exit.ran})`
  const what = exit.phase === 'install' ? `The install command${ran}` : 'The command'
  const how = exit.signal === null ? `ended with exit code ${exit.exitCode}` : `was ended by the signal ${exit.signal}`
  if (exit.oomKilled && exit.exitCode !== 0) {
    return failed('oom_killed', `${what} exceeded its memory limit; it ${how}.`)
  }
  if (exit.phase === 'install') return failed('install_failed', `${what} ${how}.`)
  if (exit.signal !== null) return failed('killed_by_signal', `${what} ${how}.`)
  if (exit.exitCode !== 0) return failed('exit_nonzero', `${what} ${how}.`)
  return { status: 'succeeded', reason: null, detail: null }
}

/** How a session ended, from how its work did; `cause` is why it was stopped, if it was. */
export function endOf(exit: WorkExit, timeoutSeconds: number, cause?: StopReason): EndedEvent {
  return {
    type: 'ended',
    // Never in the future, whatever clock or hand wrote it.
    at: new Date(Math.min(Date.parse(exit.at), Date.now())).toISOString(),
    ...judge(exit, timeoutSeconds, cause),
    exitCode: exit.exitCode,
    signal: exit.signal,
  }
}

/** A session that ended without an exit of its command. */
export function endWithout(status: EndedEvent['status'], reason: Reason, detail: string): EndedEvent {
  const at = new Date().toISOString()
  return { type: 'ended', at, status, reason, detail: detail.slice(0, 2000), exitCode: null, signal: null }
}

/** A session that was stopped before its command ran. */
export function endStopped(cause: StopReason, timeoutSeconds: number): EndedEvent {
  const { status, reason, detail } = STOPPED[cause](timeoutSeconds)
  return endWithout(status, reason!, detail!)
}

/** What viewers are told of an end. */
export function exitMessage(ended: EndedEvent, runningAt: string | undefined): Exit {
  return {
    status: ended.status,
    reason: ended.reason,
    detail: ended.detail,
    hint: ended.reason === null ? null : factsOf(ended.reason).hint,
    exitCode: ended.exitCode,
    signal: ended.signal,
    durationMs: runningAt === undefined ? null : Math.max(0, Date.parse(ended.at) - Date.parse(runningAt)),
  }
}
