import { expect, test } from '@jest/globals'
import { LaunchAttempts } from './launch-attempts.ts'

test('a launch is tried five times, each later than the one before, and then no more', () => {
  let now = 1000
  const attempts = new LaunchAttempts(() => now)
  const waits: number[] = []
  expect(attempts.knows('a')).toBe(false)
  for (let left = 4; left >= 0; left--) {
    expect(attempts.mayTry('a')).toBe(true)
    expect(attempts.tried('a')).toBe(left)
    if (left === 0) break
    expect(attempts.mayTry('a')).toBe(false)
    waits.push(attempts.nextAfterMs(60_000))
    now += waits.at(-1)!
  }
  expect(waits).toEqual([500, 1000, 2000, 4000])
  expect(attempts.mayTry('a')).toBe(false)
  expect(attempts.exhausted('a')).toBe(true)
  expect(attempts.nextAfterMs(60_000)).toBe(60_000)
})

test('sessions that are not open any more are forgotten', () => {
  const attempts = new LaunchAttempts(() => 0)
  attempts.tried('a')
  attempts.tried('b')
  attempts.forgetAllBut(new Set(['b']))
  expect([attempts.knows('a'), attempts.knows('b')]).toEqual([false, true])
  attempts.forget('b')
  expect(attempts.knows('b')).toBe(false)
})
