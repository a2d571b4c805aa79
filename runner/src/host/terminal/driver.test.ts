import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import type { TerminalSize } from '@cliscale/contract'
import { Driver, type Seat } from './driver.ts'

const seat = (viewer: string, mode: 'rw' | 'ro' = 'rw'): Seat => ({ viewer, mode })
const size = (columns: number): TerminalSize => ({ columns, rows: 10 })

describe('the driver', () => {
  const applied: number[] = []
  let driver: Driver
  const settle = (): void => {
    jest.advanceTimersByTime(100)
  }

  beforeEach(() => {
    jest.useFakeTimers()
    applied.length = 0
    driver = new Driver({ apply: ({ columns }) => applied.push(columns), debounceMs: 100, graceMs: 2000 })
  })
  afterEach(() => {
    driver[Symbol.dispose]()
    jest.useRealTimers()
  })

  test('is the first read-write viewer, once its window has stopped resizing', () => {
    const [ro, a, b] = [seat('ro', 'ro'), seat('a'), seat('b')]
    driver.wants(ro, size(1))
    driver.wants(a, size(80))
    driver.wants(b, size(90))
    for (const columns of [81, 82, 83]) {
      jest.advanceTimersByTime(90)
      driver.wants(a, size(columns))
    }
    expect(applied).toEqual([])
    settle()
    expect([applied, driver.viewer]).toEqual([[83], 'a'])
  })

  test('is the viewer that typed last, and does not change when it types on', () => {
    const [a, b] = [seat('a'), seat('b')]
    driver.wants(a, size(80))
    driver.wants(b, size(90))
    settle()
    driver.typed(b)
    settle()
    driver.typed(b)
    driver.wants(a, size(70))
    settle()
    expect(applied).toEqual([80, 90])
    driver.typed(a)
    settle()
    expect(applied).toEqual([80, 90, 70])
  })

  test('stays the same when it leaves for a moment, and changes after the grace period', () => {
    const [a, b, c] = [seat('a'), seat('b'), seat('c')]
    for (const [s, columns] of [
      [a, 80],
      [b, 90],
      [c, 100],
    ] as const)
      driver.wants(s, size(columns))
    driver.typed(c)
    driver.typed(b)
    driver.typed(a)
    settle()
    driver.left(a)
    jest.advanceTimersByTime(1900)
    const again = seat('a')
    driver.wants(again, size(80))
    jest.advanceTimersByTime(5000)
    expect(driver.viewer).toBe('a')
    driver.left(again)
    jest.advanceTimersByTime(2100)
    expect([driver.viewer, applied.at(-1)]).toEqual(['b', 90])
  })

  test('is nobody when all have left, and then the next viewer to come', () => {
    const a = seat('a')
    driver.wants(a, size(80))
    settle()
    driver.left(a)
    jest.advanceTimersByTime(2000)
    expect(driver.viewer).toBeUndefined()
    driver.wants(seat('b'), size(90))
    settle()
    expect(applied).toEqual([80, 90])
  })

  test('is one viewer when that has two tabs', () => {
    const [first, second] = [seat('a'), seat('a')]
    driver.wants(first, size(80))
    driver.wants(second, size(90))
    settle()
    driver.left(second)
    jest.advanceTimersByTime(3000)
    expect([driver.viewer, applied]).toEqual(['a', [90]])
  })

  test('becomes a viewer that types before it reports its size as soon as it reports it', () => {
    driver.wants(seat('a'), size(80))
    const b = seat('b')
    driver.typed(b)
    driver.wants(b, size(90))
    driver.typed(b)
    settle()
    expect(applied).toEqual([90])
  })

  test.each([
    ['it does, because no viewer typed', false, 'a'],
    ['it does not, because another viewer typed', true, 'b'],
  ])('that was away longer than the grace period asks to drive again; %s', (_, typed, expected) => {
    const [a, b] = [seat('a'), seat('b')]
    driver.wants(a, size(80))
    driver.wants(b, size(90))
    driver.typed(a)
    driver.left(a)
    jest.advanceTimersByTime(2100)
    expect(driver.viewer).toBe('b')
    if (typed) driver.typed(b)
    driver.wants(seat('a'), size(80), { drives: true })
    settle()
    expect([driver.viewer, applied.at(-1)]).toEqual([expected, expected === 'a' ? 80 : 90])
  })

  test('is the viewer that was it before a restart of the host, whoever comes first', () => {
    driver.wants(seat('b'), size(90))
    driver.wants(seat('a'), size(80), { drives: true })
    driver.wants(seat('c'), size(100), { drives: true })
    settle()
    expect([driver.viewer, applied]).toEqual(['a', [80]])
  })

  test('becomes a viewer that asks for it, but never a read-only one', () => {
    const b = seat('b')
    driver.wants(seat('a'), size(80))
    driver.typed(seat('a'))
    driver.wants(b, size(90), { take: true })
    settle()
    driver.wants(seat('ro', 'ro'), size(20), { take: true, drives: true })
    settle()
    expect([driver.viewer, applied]).toEqual(['b', [90]])
  })

  test('leaves no timer when it is disposed', () => {
    const a = seat('a')
    driver.wants(a, size(80))
    driver.left(a)
    driver[Symbol.dispose]()
    expect(jest.getTimerCount()).toBe(0)
  })
})
