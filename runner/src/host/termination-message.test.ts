import { expect, test } from '@jest/globals'
import { terminationMessage } from './termination-message.ts'

const ended = { type: 'ended', at: '2026-01-01T00:00:00.000Z', status: 'failed', reason: 'exit_nonzero' } as const

test('tells Kubernetes how the session ended', () => {
  const words = terminationMessage({
    ...ended,
    detail: 'The command ended with exit code 3.',
    exitCode: 3,
    signal: null,
  })
  expect(JSON.parse(words)).toEqual({
    status: 'failed',
    reason: 'exit_nonzero',
    detail: 'The command ended with exit code 3.',
    exitCode: 3,
    signal: null,
  })
})

test.each(['x'.repeat(9000), '"\u0001'.repeat(1000), '\u20ac'.repeat(2000)])(
  'fits into 4096 bytes, whatever the detail',
  (detail) => {
    const words = terminationMessage({ ...ended, detail, exitCode: null, signal: 'SIGKILL' })
    expect(Buffer.byteLength(words)).toBeLessThanOrEqual(4096)
    expect(JSON.parse(words)).toMatchObject({ status: 'failed', signal: 'SIGKILL' })
  },
)
