import { expect, test } from '@jest/globals'
import { doneLine, failedLine, noteLine } from './stage-lines.ts'

test('stage lines give their seconds, and drop control characters from what they quote', () => {
  expect(doneLine('fetching_code', 1234)).toBe('\x1b[2m── code fetched in 1.2 s\x1b[0m\r\n')
  // Without code_checksum_sha256 there is no line about a checksum.
  expect(doneLine('verifying', 1234)).toBe('\x1b[2m── archive checked in 1.2 s\x1b[0m\r\n')
  expect(doneLine('installing', -5)).toContain('0.0 s')
  expect(noteLine('a\x1b]0;title\x07b\nc')).toBe('\x1b[2m── a ]0;title b c\x1b[0m\r\n')
  expect(failedLine('bad \u009b31m \u202e name')).toBe('\x1b[31m── bad  31m   name\x1b[0m\r\n')
})
