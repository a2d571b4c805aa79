import { expect, test } from '@jest/globals'
import { MAX_DELAY_MS, reconnectDelayMs } from './backoff.ts'

test('the first attempt comes between 0.25 and 1 s', () => {
  expect(reconnectDelayMs(0, 0)).toBe(250)
  expect(reconnectDelayMs(0, 1)).toBe(1000)
})

test('later attempts double up to 30 s and never pass it', () => {
  expect([1, 2, 3, 4, 5, 6, 1000].map((attempt) => reconnectDelayMs(attempt, 1))).toEqual([
    2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000,
  ])
  expect(reconnectDelayMs(50, 0)).toBe(MAX_DELAY_MS / 2)
})
