import { expect, test } from '@jest/globals'
import { initdbFault } from './server.ts'

// As PostgreSQL 18.4 prints them.
test.each([
  [
    `2026-11-21 18:00:06.346 UTC [23223] FATAL:  could not extend file "base/1/2691": No space left on device
2026-11-21 18:00:06.346 UTC [23223] HINT:  Check free disk space.
2026-11-21 18:00:06.346 UTC [23223] PANIC:  cannot abort transaction 1, it was already committed
Aborted
child process exited with exit code 134
initdb: removing data directory "/data/postgres/data.draft"
`,
    'could not extend file "base/1/2691": No space left on device',
  ],
  [
    'initdb: error: could not create directory "/x": Permission denied\n',
    'could not create directory "/x": Permission denied',
  ],
  ['Killed\n', 'Killed'],
])('names the cause of a failed initdb (%#)', (stderr, cause) => {
  expect(initdbFault(stderr)).toBe(cause)
})
