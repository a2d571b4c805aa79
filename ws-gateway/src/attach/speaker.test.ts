import { describe, expect, test } from '@jest/globals'
import { decodeServerMessage, exitLine } from '@cliscale/contract'
import type { SessionState } from '../store.ts'
import { chooseProtocol, exitFrame, exitOf, statusFrame, statusOf } from './speaker.ts'

const state: SessionState = {
  id: 's',
  kind: 'runner',
  status: 'starting',
  stage: 'fetching_code',
  stages: [{ name: 'fetching_code', startedAt: '2026-01-01T00:00:05.000Z', endedAt: null }],
  reason: null,
  detail: null,
  exitCode: null,
  signal: null,
  launchId: 'p',
  createdAt: new Date('2026-01-01T00:00:00Z'),
  updatedAt: new Date('2026-01-01T00:00:00Z'),
  startedAt: new Date('2026-01-01T00:00:00Z'),
  endedAt: new Date('2026-01-01T00:00:02.5Z'),
  endpoint: undefined,
}
const body = (frame: Buffer): Buffer => frame.subarray(frame[1] === 126 ? 4 : 2)

test.each([
  [['cliscale.v1', 'tty'], 'runner', 'cliscale.v1'],
  [['tty', 'cliscale.v1'], 'runner', 'cliscale.v1'],
  [['tty'], 'runner', 'tty'],
  [[], 'runner', 'tty'],
  [['cliscale.v1', 'tty'], 'ttyd', 'tty'],
  [['cliscale.v1'], 'ttyd', undefined],
  [[], 'ttyd', 'tty'],
] as const)('a client that offers %p to a %s gets the protocol %p', (offered, kind, protocol) => {
  expect(chooseProtocol(offered, kind)).toBe(protocol)
})

describe('a status', () => {
  test('tells the stage and when it began', () => {
    expect(statusOf(state)).toEqual({
      status: 'starting',
      stage: 'fetching_code',
      since: '2026-01-01T00:00:05.000Z',
      reason: null,
      hint: null,
    })
  })
  test('is a STATUS message on v1 and a dimmed line on tty', () => {
    const status = statusOf(state)
    expect(decodeServerMessage(body(statusFrame('cliscale.v1', status, 0)))).toEqual({ type: 'status', status })
    const line = body(statusFrame('tty', status, Date.parse('2026-01-01T00:00:12Z'))).toString()
    expect(line).toBe('0\r\n\x1b[2m[cliscale] fetching code, 7 s\x1b[0m\r\n')
  })
})

describe('an exit', () => {
  const failed = { ...state, status: 'failed', reason: 'exit_nonzero', exitCode: 3 } as const
  test('carries code, reason and duration', () => {
    const exit = exitOf(failed)
    expect(exit).toMatchObject({ status: 'failed', reason: 'exit_nonzero', exitCode: 3, durationMs: 2500 })
    expect(decodeServerMessage(body(exitFrame('cliscale.v1', exit)))).toEqual({ type: 'exit', exit })
    expect(body(exitFrame('tty', exit)).toString()).toBe(`0${exitLine(exit)}`)
  })

  test('puts no control characters of a session into a terminal', () => {
    const detail = 'a\x1b[2Jb\u009b31mc'
    const sent = { ...state, status: 'failed', reason: 'internal', detail } as const
    const lines = [exitFrame('tty', exitOf(sent)), statusFrame('tty', statusOf(sent), 0)]
    for (const line of lines) {
      expect(body(line).toString()).toContain('a [2Jb 31mc')
      expect(body(line).toString()).not.toMatch(/\x1b\[2J|\u009b/)
    }
  })

  test('with a reason that only a newer controller knows still says how the session ended', () => {
    const newer = { ...failed, reason: 'budget_spent' as 'internal', detail: null }
    expect(exitOf(newer).hint).toContain('does not know the reason')
    expect(statusOf({ ...newer, endedAt: null }).hint).toContain('does not know the reason')
  })
})
