import { expect, test } from '@jest/globals'
import { LaunchAttempts } from './launch-attempts.ts'

test('a launch is tried five times, after longer and longer waits, and then no more', () => {
  let now = 1000
  const attempts = new LaunchAttempts(
    () => now,
    () => 0.5,
  )
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

test('sessions that are no longer open are forgotten', () => {
  const attempts = new LaunchAttempts(() => 0)
  attempts.tried('a')
  attempts.tried('b')
  attempts.forgetAllBut(new Set(['b']))
  expect([attempts.knows('a'), attempts.knows('b')]).toEqual([false, true])
  attempts.forget('b')
  expect(attempts.knows('b')).toBe(false)
})

test('a wait varies by at most a quarter, so that two sessions that failed together are retried apart', () => {
  for (const [random, wait] of [
    [0, 375],
    [0.999999, 625],
  ] as const) {
    const attempts = new LaunchAttempts(
      () => 0,
      () => random,
    )
    attempts.tried('a')
    expect(attempts.nextAfterMs(60_000)).toBe(wait)
  }
})

test('while the launcher is unavailable no try is counted, and waits double up to 15 s', () => {
  let now = 0
  const attempts = new LaunchAttempts(
    () => now,
    () => 0.5,
  )
  const waits: number[] = []
  for (let i = 0; i < 50; i++) {
    expect([attempts.mayTry('a'), attempts.exhausted('a')]).toEqual([true, false])
    attempts.postponed('a')
    expect(attempts.mayTry('a')).toBe(false)
    waits.push(attempts.nextAfterMs(60_000))
    now += waits.at(-1)!
  }
  expect(waits.slice(0, 7)).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000])
  expect(waits.at(-1)).toBe(15_000)
  expect(attempts.tried('a')).toBe(4)
})

test('a launcher that refuses several sessions in a row is not asked for any, until it accepts one', () => {
  let now = 0
  const attempts = new LaunchAttempts(
    () => now,
    () => 0.5,
  )
  for (const id of ['a', 'b', 'c']) attempts.postponed(id)
  expect([attempts.paused, attempts.mayTry('new')]).toEqual([false, true])
  attempts.postponed('d')
  expect([attempts.paused, attempts.mayTry('new')]).toEqual([true, false])
  expect(attempts.nextAfterMs(60_000)).toBe(500)
  now += 500
  expect(attempts.mayTry('new')).toBe(true)
  for (const id of ['a', 'b', 'c', 'd']) attempts.postponed(id)
  expect(attempts.nextAfterMs(60_000)).toBe(1000)
  attempts.tried('e')
  expect([attempts.paused, attempts.mayTry('new')]).toEqual([false, true])
})
