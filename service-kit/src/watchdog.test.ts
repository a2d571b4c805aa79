import { expect, test } from '@jest/globals'
import { Watchdog } from './watchdog.ts'

function watched(graceMs = 0) {
  let at = 5_000
  const dog = new Watchdog({ limitMs: 15_000, tickMs: 1_000, graceMs, now: () => at })
  const after = (ms: number, heldUpMs = 0): boolean => {
    at += ms
    return dog.tick(heldUpMs)
  }
  const ticks = (count: number): boolean[] => Array.from({ length: count }, () => after(1_000))
  return { dog, after, ticks }
}

test('reports silence when the limit is reached, and not before', () => {
  expect(watched().ticks(15)).toEqual([...Array<boolean>(14).fill(false), true])
})

test('each sign of life restarts the limit', () => {
  const { dog, ticks } = watched()
  for (let i = 0; i < 10; i++) {
    expect(ticks(14)).not.toContain(true)
    dog.beat()
  }
  expect(ticks(15).at(-1)).toBe(true)
})

test('does not count time in which the watcher itself stood still', () => {
  const { after, ticks, dog } = watched()
  expect(after(3_600_000)).toBe(false)
  dog.beat()
  expect([30_000, 30_000, 30_000].map((ms) => after(ms))).toEqual([false, false, false])
  expect(ticks(10)).not.toContain(true)
  expect(after(1_000)).toBe(true)
})

test('time in which what is watched waited for a processor does not count', () => {
  const { after, ticks } = watched()
  for (let i = 0; i < 100; i++) expect(after(1_000, i % 2 === 0 ? 1_000 : 1_400)).toBe(false)
  expect(ticks(15).at(-1)).toBe(true)
})

test('gives extra time only before the first sign of life', () => {
  const { dog, ticks } = watched(45_000)
  expect(ticks(59)).not.toContain(true)
  dog.beat()
  expect(ticks(14)).not.toContain(true)
  expect(ticks(1)).toEqual([true])
  expect(watched(45_000).ticks(60).at(-1)).toBe(true)
})
