import { describe, expect, test } from '@jest/globals'
import { REASONS, type SessionEvent } from '@cliscale/contract'
import { advance, applyEvent, type SessionState, type TimelineEntry } from './state.ts'

const T0 = '2026-01-01T00:00:00.000Z'
const at = (seconds: number): string => new Date(Date.parse(T0) + seconds * 1000).toISOString()
const now = new Date(at(100))
const entry = (name: TimelineEntry['name'], from: number, to: number | null): TimelineEntry => ({
  name,
  startedAt: at(from),
  endedAt: to === null ? null : at(to),
})
const starting: SessionState = {
  status: 'starting',
  stage: 'scheduling',
  stages: [entry('queued', 0, 1), entry('scheduling', 1, 2)],
  startedAt: null,
  reason: null,
}
const stage = (name: TimelineEntry['name'], seconds: number): SessionEvent => ({ type: 'stage', name, at: at(seconds) })
const ended = (fields: Partial<SessionEvent & { type: 'ended' }> = {}): SessionEvent => ({
  type: 'ended',
  at: at(50),
  status: 'failed',
  reason: 'exit_nonzero',
  detail: null,
  exitCode: 3,
  signal: null,
  ...fields,
})
/** The state after a report; unchanged when the report changes nothing. */
function after(state: SessionState, event: SessionEvent): SessionState {
  const change = applyEvent(state, event, now)
  if (change === undefined) return state
  return {
    ...state,
    stages: change.stages,
    status: change.status ?? state.status,
    stage: change.stage === undefined ? state.stage : change.stage,
    startedAt: change.startedAt ?? state.startedAt,
  }
}

describe('advance', () => {
  test('closes the open entry and opens the next', () => {
    expect(advance([entry('queued', 0, null)], new Date(at(3)), 'scheduling')).toEqual([
      entry('queued', 0, 3),
      entry('scheduling', 3, null),
    ])
  })

  test('never ends an entry before its start, nor starts one before the end of the previous', () => {
    expect(advance([entry('queued', 10, null)], new Date(at(3)))).toEqual([entry('queued', 10, 10)])
    expect(advance([entry('queued', 0, 10)], new Date(at(3)), 'scheduling')[1]).toEqual(entry('scheduling', 10, null))
  })

  test('may begin an empty timeline or keep it empty', () => {
    expect(advance([], now)).toEqual([])
    expect(advance([], now, 'queued')).toHaveLength(1)
  })
})

describe('applyEvent', () => {
  test('changes nothing after a final status', () => {
    for (const status of ['succeeded', 'failed', 'stopped', 'expired', 'lost'] as const) {
      const state = { ...starting, status }
      for (const event of [stage('verifying', 3), { type: 'running', at: at(3) } as const, ended()]) {
        expect(applyEvent(state, event, now)).toBeUndefined()
      }
    }
  })

  test('ignores a stage that is repeated, that precedes the last one, or that no host reports', () => {
    const verifying = after(starting, stage('verifying', 5))
    expect(verifying).toMatchObject({ status: 'starting', stage: 'verifying' })
    for (const name of ['verifying', 'fetching_code', 'pulling_image', 'scheduling', 'queued', 'running'] as const) {
      expect(applyEvent(verifying, stage(name, 6), now)).toBeUndefined()
    }
  })

  test('ignores a stage after running', () => {
    const running = after(starting, { type: 'running', at: at(5) })
    expect(applyEvent(running, stage('installing', 6), now)).toBeUndefined()
    expect(applyEvent(running, { type: 'running', at: at(6) }, now)).toBeUndefined()
  })

  test('makes a timeline without gaps of a whole session', () => {
    const events = [
      stage('fetching_code', 3),
      stage('verifying', 4),
      stage('installing', 5),
      { type: 'running', at: at(9) },
    ]
    const state = (events as SessionEvent[]).reduce(after, starting)
    expect(state.startedAt).toEqual(new Date(at(9)))
    const end = applyEvent(state, ended(), now)!
    expect(end.stages.map(({ name, startedAt, endedAt }) => [name, startedAt, endedAt])).toEqual([
      ['queued', at(0), at(1)],
      ['scheduling', at(1), at(2)],
      ['fetching_code', at(3), at(4)],
      ['verifying', at(4), at(5)],
      ['installing', at(5), at(9)],
      ['running', at(9), at(50)],
    ])
    expect(end).toMatchObject({ status: 'failed', end: { reason: 'exit_nonzero', exitCode: 3, at: new Date(at(50)) } })
  })

  test('writes no time in the future for a host whose clock is ahead', () => {
    expect(applyEvent(starting, { type: 'running', at: at(5000) }, now)?.startedAt).toEqual(now)
    expect(applyEvent(starting, ended({ at: at(5000) }), now)?.end?.at).toEqual(now)
  })

  test('never ends before the start for a host whose clock is behind', () => {
    const running = after(starting, { type: 'running', at: at(60) })
    expect(applyEvent(running, ended({ at: at(1) }), now)?.end?.at).toEqual(new Date(at(60)))
  })

  test('gives every end a reason, except success', () => {
    expect(applyEvent(starting, ended({ status: 'succeeded', exitCode: 0 }), now)?.end?.reason).toBeNull()
    expect(applyEvent(starting, ended({ reason: null }), now)?.end?.reason).toBe('internal')
  })

  test('keeps the reason that was noted for a stop, and drops it for any other end', () => {
    const state = { ...starting, reason: 'server_stopped' as const }
    const stopped = ended({ status: 'stopped', reason: 'stopped_by_user' })
    const end = applyEvent(state, stopped, now)?.end
    expect(end).toMatchObject({ reason: 'server_stopped', detail: REASONS.server_stopped.hint })
    expect(applyEvent(state, ended(), now)?.end?.reason).toBe('exit_nonzero')
  })
})
