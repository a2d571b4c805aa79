import { expect, test } from '@jest/globals'
import { REASONS, type SessionEvent } from '@cliscale/contract'
import type { Launcher } from '../launch/launcher.ts'
import { correctEnd } from './correct-end.ts'

const ended: SessionEvent & { type: 'ended' } = {
  type: 'ended',
  at: '2026-01-01T00:00:00.000Z',
  status: 'failed',
  reason: 'killed_by_signal',
  detail: 'The command was ended by the signal SIGKILL.',
  exitCode: null,
  signal: 'SIGKILL',
}
const fault = { reason: 'oom_killed', detail: REASONS.oom_killed.hint } as const
const launcher = (oomKilled: boolean): Launcher =>
  ({
    list: () => Promise.resolve([{ sessionId: 'a', podUid: 'p', progress: 'running', ...(oomKilled && { fault }) }]),
  }) as unknown as Launcher

test('what was killed for its memory says so, however the host saw it', async () => {
  const corrected = { status: 'failed', reason: 'oom_killed', detail: REASONS.oom_killed.hint }
  const lost = { ...ended, status: 'lost', reason: 'runner_lost', signal: null } as const
  const shell = { ...ended, reason: 'exit_nonzero', signal: null, exitCode: 137 } as const
  for (const event of [ended, lost, shell]) {
    expect(await correctEnd(launcher(true), 'a', event)).toEqual({ ...event, ...corrected })
  }
})

test('everything else stays as it was reported', async () => {
  const kept: (SessionEvent & { type: 'ended' })[] = [
    { ...ended, status: 'succeeded', reason: null, exitCode: 0, signal: null },
    { ...ended, reason: 'exit_nonzero', exitCode: 1, signal: null },
    { ...ended, status: 'stopped', reason: 'stopped_by_user' },
    { ...ended, status: 'expired', reason: 'deadline' },
  ]
  for (const event of kept) expect(await correctEnd(launcher(true), 'a', event)).toEqual(event)
  expect(await correctEnd(launcher(false), 'a', ended)).toEqual(ended)
  expect(await correctEnd(launcher(true), 'b', ended)).toEqual(ended)
  const away = { list: () => Promise.reject(new Error('away')) } as unknown as Launcher
  expect(await correctEnd(away, 'a', ended)).toEqual(ended)
})
