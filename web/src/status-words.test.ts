import { describe, expect, test } from '@jest/globals'
import type { Exit, StatusMessage } from '@cliscale/contract/terminal'
import type { ConnectionState, Stop } from '@cliscale/client'
import { endWords, statusWords, stopHelp } from './status-words.ts'

const waiting: StatusMessage = {
  status: 'starting',
  stage: 'installing',
  since: '2026-01-01T00:00:00Z',
  reason: null,
  hint: null,
}
const exit = (rest: Partial<Exit>): Exit => ({
  status: 'failed',
  reason: null,
  detail: null,
  hint: null,
  exitCode: null,
  signal: null,
  durationMs: null,
  ...rest,
})

describe('statusWords', () => {
  const cases: [string, ConnectionState][] = [
    ['connecting', { kind: 'connecting' }],
    ['installing · 7 s', { kind: 'waiting', status: waiting }],
    ['stopping', { kind: 'waiting', status: { ...waiting, stopping: true } }],
    ['live', { kind: 'live', status: undefined }],
    ['stopping', { kind: 'live', status: { ...waiting, status: 'running', stopping: true } }],
    ['reconnecting in 3 s', { kind: 'reconnecting', at: 12_900, cause: 'network' }],
    ['ended · exit code 0', { kind: 'ended', exit: exit({ status: 'succeeded', exitCode: 0 }) }],
    ['ended · exit code 3', { kind: 'ended', exit: exit({ exitCode: 3 }) }],
    ['install failed, exit code 9', { kind: 'ended', exit: exit({ reason: 'install_failed', exitCode: 9 }) }],
    ['install failed, SIGINT', { kind: 'ended', exit: exit({ reason: 'install_failed', signal: 'SIGINT' }) }],
    ['install failed', { kind: 'ended', exit: exit({ reason: 'install_failed' }) }],
    ['ended · SIGKILL', { kind: 'ended', exit: exit({ signal: 'SIGKILL' }) }],
    ['ended · stopped', { kind: 'ended', exit: exit({ status: 'stopped', signal: 'SIGTERM' }) }],
    ['link already used', { kind: 'stopped', why: 'link_used' }],
    ['expired', { kind: 'stopped', why: 'expired' }],
    ['no access', { kind: 'stopped', why: 'no_access' }],
  ]
  test.each(cases)('%s', (text, state) => {
    expect(statusWords(state, 10_000, 3_000).text).toBe(text)
  })

  test('what is spoken does not change every second', () => {
    const state: ConnectionState = { kind: 'reconnecting', at: 30_000, cause: 'network' }
    expect(statusWords(state, 0, undefined).spoken).toBe(statusWords(state, 9_000, undefined).spoken)
  })
})

describe('endWords', () => {
  const all = (rest: Partial<Exit>): string => {
    const { headline, facts, help } = endWords(exit(rest))
    return [headline, ...facts, ...(help === undefined ? [] : [help])].join(' | ')
  }

  test.each<[Partial<Exit>, string]>([
    [{ status: 'succeeded', exitCode: 0, durationMs: 400 }, 'Finished | exit code 0 | ran for 0.4 s'],
    [
      { reason: 'exit_nonzero', exitCode: 3, detail: 'The command ended with exit code 3.', hint: 'Not 0.' },
      'Failed | exit code 3',
    ],
    [{ reason: 'killed_by_signal', signal: 'SIGSEGV', detail: 'By SIGSEGV.' }, 'Failed | signal SIGSEGV'],
    [
      { reason: 'install_failed', exitCode: 1, detail: 'The install command ended with exit code 1.', hint: 'Above.' },
      'Install failed | The install command ended with exit code 1.',
    ],
    [
      { reason: 'oom_killed', signal: 'SIGKILL', detail: 'Out of memory; it was ended by the signal SIGKILL.' },
      'Failed | Out of memory; it was ended by the signal SIGKILL.',
    ],
    [
      { status: 'stopped', reason: 'stopped_by_user', exitCode: 143, detail: 'x', hint: 'y', durationMs: 5000 },
      'Stopped on request | ran for 5.0 s',
    ],
    [{ status: 'stopped', reason: 'server_stopped', signal: 'SIGTERM', detail: 'Shut down.' }, 'Stopped | Shut down.'],
    [
      { status: 'expired', reason: 'deadline', exitCode: 0, detail: 'It ran too long.', hint: 'It ran longer.' },
      'Time limit reached | It ran too long.',
    ],
    [{ reason: 'download_failed', hint: 'Try again.' }, 'Failed | Try again.'],
    [
      { reason: 'code_too_large', detail: '' },
      'Failed | The code is larger than a session may fetch. Use a smaller archive.',
    ],
    [{ status: 'lost', detail: 'Same.', hint: 'Same.' }, 'Lost | Same.'],
  ])('one sentence for %j', (rest, words) => {
    expect(all(rest)).toBe(words)
  })

  test('a stop is neither good nor bad', () => {
    const endings = (['succeeded', 'stopped', 'failed', 'expired', 'lost'] as const).map(
      (status) => endWords(exit({ status })).ending,
    )
    expect(endings).toEqual(['good', 'neutral', 'bad', 'bad', 'bad'])
    const stopped = { kind: 'ended', exit: exit({ status: 'stopped', reason: 'server_stopped' }) } as const
    expect(statusWords(stopped, 0, undefined).tone).toBe('off')
  })

  test('a reason of a newer server breaks nothing', () => {
    expect(endWords(exit({ reason: 'of_tomorrow' as never })).help).toContain('does not know the reason')
  })
})

test('wherever a new link helps, the text introduces it', () => {
  const withLink: Stop[] = ['link_used', 'expired', 'no_access', 'revoked']
  for (const why of withLink)
    expect(stopHelp(why)).toMatchObject({ offersLink: true, body: expect.stringMatching(/:$/) })
  expect(stopHelp('not_found').offersLink).toBe(false)
})
