import { expect, test } from '@jest/globals'
import { exitLine } from './exit-line.ts'

const EXIT = {
  status: 'failed',
  reason: 'exit_nonzero',
  detail: null,
  hint: null,
  exitCode: 3,
  signal: null,
  durationMs: 1,
} as const
test.each([
  [EXIT, 'exit code 3'],
  [{ ...EXIT, status: 'succeeded', reason: null, exitCode: 0 } as const, 'exit code 0'],
  [{ ...EXIT, reason: 'killed_by_signal', exitCode: null, signal: 'SIGTERM' } as const, 'ended by SIGTERM'],
  [
    { ...EXIT, status: 'lost', reason: 'runner_lost', exitCode: null } as const,
    'ended as lost: The processes that ran',
  ],
  [
    { ...EXIT, reason: 'archive_refused', exitCode: null, detail: 'a\x1b[2J\u009bb' } as const,
    'ended as failed: a [2J b',
  ],
])('the last line that a tty viewer gets says how the session ended (%#)', (exit, text) => {
  const line = exitLine(exit)
  expect(line).toContain(`[cliscale] ${text}`)
  expect(line.replace(/\r\n|\x1b\[0;3[12]m|\x1b\[0m/g, '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
})
