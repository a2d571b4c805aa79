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
const A = { sessionId: 'a', launchId: 'p' }
const launcher = (oomKilled: boolean): Launcher =>
  ({
    list: () => Promise.resolve([{ sessionId: 'a', launchId: 'p', progress: 'running', ...(oomKilled && { fault }) }]),
  }) as unknown as Launcher

test('a kill for memory is the reason, however the host saw it', async () => {
  const corrected = { status: 'failed', reason: 'oom_killed', detail: REASONS.oom_killed.hint }
  const lost = { ...ended, status: 'lost', reason: 'runner_lost', signal: null } as const
  const shell = { ...ended, reason: 'exit_nonzero', signal: null, exitCode: 137 } as const
  for (const event of [ended, lost, shell]) {
    expect(await correctEnd(launcher(true), A, event)).toEqual({ ...event, ...corrected })
  }
})

test('every other end stays as the host reported it', async () => {
  const kept: (SessionEvent & { type: 'ended' })[] = [
    { ...ended, status: 'succeeded', reason: null, exitCode: 0, signal: null },
    { ...ended, reason: 'exit_nonzero', exitCode: 1, signal: null },
    { ...ended, status: 'stopped', reason: 'stopped_by_user' },
    { ...ended, status: 'expired', reason: 'deadline' },
  ]
  for (const event of kept) expect(await correctEnd(launcher(true), A, event)).toEqual(event)
  expect(await correctEnd(launcher(false), A, ended)).toEqual(ended)
  expect(await correctEnd(launcher(true), { ...A, sessionId: 'b' }, ended)).toEqual(ended)
  const away = { list: () => Promise.reject(new Error('away')) } as unknown as Launcher
  expect(await correctEnd(away, A, ended)).toEqual(ended)
})

test('what happened to another launch of the session does not change the end of this one', async () => {
  expect(await correctEnd(launcher(true), { sessionId: 'a', launchId: 'q' }, ended)).toEqual(ended)
  expect(await correctEnd(launcher(true), { sessionId: 'a', launchId: null }, ended)).toEqual(ended)
})

test('an eviction ends the session as lost, and is awaited while the launcher may not know of it yet', async () => {
  const evicted = { reason: 'evicted', detail: 'The node was drained.' } as const
  let looks = 0
  const late = {
    list: () => Promise.resolve([{ ...A, progress: 'running', ...(++looks > 2 && { fault: evicted }) }]),
  } as unknown as Launcher
  const event = { ...ended, signal: 'SIGTERM' }
  expect(await correctEnd(late, A, event)).toEqual(event)
  looks = 0
  expect(await correctEnd(late, A, event, 5_000)).toEqual({ ...event, ...evicted, status: 'lost' })
  const from = Date.now()
  expect(await correctEnd(launcher(false), A, event, 450)).toEqual(event)
  expect(Date.now() - from).toBeGreaterThanOrEqual(440)
  // Nothing is awaited where nothing is listed, or where nothing was killed.
  expect(await correctEnd({ list: () => Promise.resolve([]) } as unknown as Launcher, A, event, 60_000)).toEqual(event)
  const plain = { ...ended, reason: 'exit_nonzero', signal: null, exitCode: 1 } as const
  expect(await correctEnd(launcher(false), A, plain, 60_000)).toEqual(plain)
})

test('a more certain reason that follows the first one counts, and a deadline ends the session as expired', async () => {
  const deleted = { reason: 'evicted', detail: 'The pod was deleted.' } as const
  const deadline = { reason: 'deadline', detail: 'The session was still running long after its time limit.' } as const
  let looks = 0
  const twice = {
    list: () => Promise.resolve([{ ...A, progress: 'running', fault: ++looks > 1 ? deadline : deleted }]),
  } as unknown as Launcher
  expect(await correctEnd(twice, A, { ...ended, signal: 'SIGTERM' }, 5_000)).toMatchObject({
    ...deadline,
    status: 'expired',
  })
})

test('a host that knows only that work ended is given more time for the reason', async () => {
  const disk = { reason: 'disk_full', detail: 'The session exceeded its disk limit.' } as const
  const began = Date.now()
  const late = {
    list: () => Promise.resolve([{ ...A, progress: 'running', ...(Date.now() - began > 700 && { fault: disk }) }]),
  } as unknown as Launcher
  const lost = { ...ended, status: 'lost', reason: 'runner_lost', signal: null } as const
  expect(await correctEnd(late, A, lost, 450)).toEqual({ ...lost, ...disk, status: 'failed' })
})
