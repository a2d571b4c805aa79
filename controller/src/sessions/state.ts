import {
  factsOf,
  isFinal,
  type Reason,
  type SessionEvent,
  type SessionStatus,
  type Stage,
  STAGES,
} from '@cliscale/contract'

/** An entry of the timeline as `sessions.stages` keeps it; times are ISO 8601. */
export interface TimelineEntry {
  readonly name: Stage
  readonly startedAt: string
  readonly endedAt: string | null
}

/** What the state machine reads of a session. */
export interface SessionState {
  readonly status: SessionStatus
  readonly stage: Stage | null
  readonly stages: readonly TimelineEntry[]
  readonly startedAt: Date | null
  /** Set beforehand by whoever ends the session for a reason that its host does not know. */
  readonly reason: Reason | null
}

/** What changes; everything else stays. */
export interface StateChange {
  readonly status?: SessionStatus
  readonly stage?: Stage | null
  readonly stages: readonly TimelineEntry[]
  readonly startedAt?: Date
  readonly end?: SessionEnd
}

/** How a session ended. */
export interface SessionEnd {
  readonly at: Date
  readonly reason: Reason | null
  readonly detail: string | null
  readonly exitCode: number | null
  readonly signal: string | null
}

/** The timeline with its open entry closed and, with `next`, a new open one. An entry is never negative in length. */
export function advance(stages: readonly TimelineEntry[], at: Date, next?: Stage): TimelineEntry[] {
  const closed = stages.map((entry) =>
    entry.endedAt === null ? { ...entry, endedAt: later(entry.startedAt, at).toISOString() } : entry,
  )
  if (next === undefined) return closed
  const previousEnd = closed.at(-1)?.endedAt
  const startedAt = previousEnd ? later(previousEnd, at) : at
  return [...closed, { name: next, startedAt: startedAt.toISOString(), endedAt: null }]
}

function later(a: string, b: Date): Date {
  return new Date(Math.max(Date.parse(a), b.getTime()))
}

/**
 * What a host's report changes. Statuses:
 *
 *   queued → scheduling → starting → running → succeeded | failed | stopped | expired | lost
 *
 * Nothing goes backwards and nothing follows a final status: such a report, and one that was heard before, is undefined.
 * The host's clock is not ours: a time in the future counts as now, and an entry never starts before the one before it.
 */
export function applyEvent(state: SessionState, event: SessionEvent, now: Date): StateChange | undefined {
  if (isFinal(state.status)) return undefined
  const at = new Date(Math.min(Date.parse(event.at), now.getTime()))
  if (event.type === 'stage') return applyStage(state, event.name, at)
  if (event.type === 'running') {
    if (state.status === 'running') return undefined
    const stages = advance(state.stages, at, 'running')
    return { status: 'running', stage: 'running', stages, startedAt: new Date(stages.at(-1)!.startedAt) }
  }
  const succeeded = event.status === 'succeeded'
  const reason = succeeded ? null : (event.reason ?? 'internal')
  const stages = advance(state.stages, at)
  // Whoever asked for the stop knows why; the host only that it was asked.
  const known = event.status === 'stopped' ? state.reason : null
  return {
    status: event.status,
    stages,
    end: {
      at: latestEnd(stages, at),
      reason: known ?? reason,
      detail: known === null ? event.detail : factsOf(known).hint,
      exitCode: event.exitCode,
      signal: event.signal,
    },
  }
}

function applyStage(state: SessionState, name: Stage, at: Date): StateChange | undefined {
  // `running` has a report of its own; the two before belong to the controller.
  if (state.status === 'running' || name === 'running') return undefined
  const reached = Math.max(...state.stages.map((entry) => STAGES.indexOf(entry.name)), STAGES.indexOf('scheduling'))
  if (STAGES.indexOf(name) <= reached) return undefined
  return { status: 'starting', stage: name, stages: advance(state.stages, at, name) }
}

/** The end of a session is not before the end of its last stage. */
function latestEnd(stages: readonly TimelineEntry[], at: Date): Date {
  const last = stages.at(-1)?.endedAt
  return last ? later(last, at) : at
}
