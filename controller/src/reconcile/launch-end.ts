import { type FinalReport, type FinalStatus, type Reason, REASONS } from '@cliscale/contract'
import type { Launched, LaunchFault } from '../launch/launcher.ts'
import { correctReport, statusOfFault } from '../host-api/correct-end.ts'

/**
 * How a session ends whose launch is over, when its host did not say so itself: by the launch's own word, else as was
 * asked for, else by what was done to it, else as lost.
 */
export function endOfLaunch(of: {
  readonly stopRequested: boolean
  readonly fault?: LaunchFault | undefined
  readonly report?: FinalReport | undefined
}): FinalReport {
  if (of.report !== undefined) return of.fault ? correctReport(of.report, of.fault) : of.report
  const end = (status: FinalStatus, reason: Reason, detail: string): FinalReport => {
    return { status, reason, detail, exitCode: null, signal: null }
  }
  if (of.stopRequested) return end('stopped', 'stopped_by_user', REASONS.stopped_by_user.hint)
  if (of.fault === undefined) return end('lost', 'runner_lost', REASONS.runner_lost.hint)
  return end(statusOfFault(of.fault), of.fault.reason, of.fault.detail)
}

const PROGRESS: readonly Launched['progress'][] = ['ended', 'scheduling', 'pulling_image', 'running']

/** Of several launches of a session the one that is furthest; an ended one comes last. */
export function furthest(launches: readonly Launched[]): Launched | undefined {
  return [...launches].sort((a, b) => PROGRESS.indexOf(b.progress) - PROGRESS.indexOf(a.progress))[0]
}
