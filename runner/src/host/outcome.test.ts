import { expect, test } from '@jest/globals'
import { SessionEvent } from '@cliscale/contract'
import type { WorkExit } from '../relay/messages.ts'
import { endOf, endStopped, endWithout, exitMessage } from './outcome.ts'

const base: WorkExit = {
  phase: 'command',
  exitCode: 0,
  signal: null,
  failure: null,
  oomKilled: false,
  stopped: null,
  at: '2026-01-01T00:00:05.000Z',
  offset: 0,
}
const failure = { reason: 'disk_full', detail: 'No room.' } as const

test.each([
  ['exit 0', {}, 'succeeded', null],
  ['exit 3', { exitCode: 3 }, 'failed', 'exit_nonzero'],
  ['a signal', { exitCode: null, signal: 'SIGSEGV' }, 'failed', 'killed_by_signal'],
  ['an install that fails', { phase: 'install', exitCode: 1 }, 'failed', 'install_failed'],
  ['an install that is killed', { phase: 'install', exitCode: null, signal: 'SIGKILL' }, 'failed', 'install_failed'],
  ['a command killed for its memory', { exitCode: 137, oomKilled: true }, 'failed', 'oom_killed'],
  ['a success in which a child was killed for memory', { oomKilled: true }, 'succeeded', null],
  ['a stop, even with exit 0', { stopped: 'user' }, 'stopped', 'stopped_by_user'],
  ['a stop during the install', { phase: 'install', exitCode: 143, stopped: 'user' }, 'stopped', 'stopped_by_user'],
  [
    'an install that takes too long',
    { phase: 'install', exitCode: null, signal: 'SIGTERM', stopped: 'install_limit' },
    'failed',
    'install_failed',
  ],
  ['the deadline', { exitCode: null, signal: 'SIGKILL', stopped: 'deadline' }, 'expired', 'deadline'],
  [
    'an install whose tool is missing',
    { phase: 'install', exitCode: null, failure: { reason: 'install_failed', detail: 'No pnpm.' } },
    'failed',
    'install_failed',
  ],
  ['a command that could not be started', { exitCode: null, failure }, 'failed', 'disk_full'],
] as const)('%s', (_, change, status, reason) => {
  const ended = endOf({ ...base, ...change }, 60)
  expect(ended).toMatchObject({ status, reason, at: base.at })
  expect(SessionEvent.parse(ended)).toEqual(ended)
  expect(ended.detail === null).toBe(reason === null)
})

test('a stop of the whole server is not a stop by the user, whatever the program did next', () => {
  for (const change of [{}, { exitCode: 143 }, { exitCode: null, signal: 'SIGKILL' }]) {
    const ended = endOf({ ...base, ...change, stopped: 'user' }, 60, 'server')
    expect(ended).toMatchObject({ status: 'stopped', reason: 'server_stopped' })
  }
  expect(endStopped('server', 60).reason).toBe('server_stopped')
  expect(endOf({ ...base, stopped: 'deadline' }, 60, 'server').reason).toBe('deadline')
  expect(endOf({ ...base, exitCode: 3 }, 60, 'server').reason).toBe('exit_nonzero')
})

test('the detail names the signal and the code', () => {
  expect(endOf({ ...base, exitCode: null, signal: 'SIGSEGV' }, 60).detail).toContain('SIGSEGV')
  expect(endOf({ ...base, exitCode: 42 }, 60).detail).toContain('42')
  const install = { ...base, phase: 'install', exitCode: 1 } as const
  expect(endOf(install, 60).detail).toBe('The install command ended with exit code 1.')
  expect(endOf({ ...install, ran: 'npm ci' }, 60).detail).toBe('The install command (npm ci) ended with exit code 1.')
})

test('a long detail is cut to what a report may hold', () => {
  expect(SessionEvent.safeParse(endWithout('failed', 'internal', 'x'.repeat(5000))).success).toBe(true)
})

test('viewers get the hint, and the duration only when the command ran', () => {
  const ended = endOf({ ...base, exitCode: 1 }, 60)
  expect(exitMessage(ended, '2026-01-01T00:00:01.500Z')).toMatchObject({ durationMs: 3500, exitCode: 1 })
  expect(exitMessage(ended, undefined).durationMs).toBeNull()
  expect(exitMessage(endStopped('user', 60), undefined).hint).toContain('stopped on request')
})
