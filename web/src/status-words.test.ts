import { describe, expect, test } from '@jest/globals'
import type { Exit, StatusMessage } from '@cliscale/contract/terminal'
import type { ConnectionState, Stop } from './connection-state.ts'
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
    ['live', { kind: 'live', status: undefined }],
    ['reconnecting in 3 s', { kind: 'reconnecting', at: 12_900, cause: 'network' }],
    ['ended · exit code 0', { kind: 'ended', exit: exit({ status: 'succeeded', exitCode: 0 }) }],
    ['ended · exit code 3', { kind: 'ended', exit: exit({ exitCode: 3 }) }],
    ['ended · SIGKILL', { kind: 'ended', exit: exit({ signal: 'SIGKILL' }) }],
    ['ended · stopped', { kind: 'ended', exit: exit({ status: 'stopped', signal: 'SIGTERM' }) }],
    ['link already used', { kind: 'stopped', why: 'link_used' }],
    ['expired', { kind: 'stopped', why: 'expired' }],
    ['no access', { kind: 'stopped', why: 'no_access' }],
  ]
  test.each(cases)('%s', (text, state) => {
    expect(statusWords(state, 10_000, 3_000).text).toBe(text)
  })

  test('what is spoken does not change each second', () => {
    const state: ConnectionState = { kind: 'reconnecting', at: 30_000, cause: 'network' }
    expect(statusWords(state, 0, undefined).spoken).toBe(statusWords(state, 9_000, undefined).spoken)
  })
})

describe('endWords', () => {
  test('says what went wrong and what to do, each once', () => {
    const words = endWords(exit({ exitCode: 3, durationMs: 61_000, reason: 'install_failed', detail: 'It broke.' }))
    expect(words.facts).toEqual(['exit code 3', 'ran 1 min 01 s'])
    expect(words.help).toBe('It broke. The install command failed. Its output is above.')
    expect(endWords(exit({ reason: 'exit_nonzero', detail: 'It said 3.' })).help).toBe('It said 3.')
    expect(endWords(exit({ detail: 'Same.', hint: 'Same.' })).help).toBe('Same.')
  })

  test('a reason of a later server has no hint of ours and breaks nothing', () => {
    expect(endWords(exit({ reason: 'of_tomorrow' as never })).help).toBeUndefined()
  })

  test('a success needs no help', () => {
    expect(endWords(exit({ status: 'succeeded', exitCode: 0, durationMs: 400 }))).toEqual({
      good: true,
      headline: 'Finished',
      facts: ['exit code 0', 'ran 0.4 s'],
      help: undefined,
    })
  })
})

test('wherever a new link helps, the text leads to it', () => {
  const withLink: Stop[] = ['link_used', 'expired', 'no_access', 'revoked']
  for (const why of withLink)
    expect(stopHelp(why)).toMatchObject({ offersLink: true, body: expect.stringMatching(/:$/) })
  expect(stopHelp('not_found').offersLink).toBe(false)
})
