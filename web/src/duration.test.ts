import { expect, test } from '@jest/globals'
import { formatClock, formatDuration } from './duration.ts'

test('durations read naturally at every size', () => {
  expect([0, 430, 9_999, 12_300, 185_000, 3_725_000].map(formatDuration)).toEqual([
    '0.0 s',
    '0.4 s',
    '9.9 s',
    '12.3 s',
    '3 min 05 s',
    '1 h 02 min',
  ])
  expect(formatDuration(Number.NaN)).toBe('0 s')
})

test('the clock never goes below zero', () => {
  expect([-5, 7_000, 754_000, 3_723_000].map(formatClock)).toEqual(['0:00', '0:07', '12:34', '1:02:03'])
})
