import { expect, test } from '@jest/globals'
import { Backoff, withDeadline } from './waiting.ts'

const late = (): Error => new Error('late')

test('work that ends in time counts, be it by an error', async () => {
  expect(await withDeadline(Promise.resolve(7), 1000, late)).toBe(7)
  await expect(withDeadline(Promise.reject(new Error('its own')), 1000, late)).rejects.toThrow('its own')
})

test('work that is late is given up, and a failure after that ends nothing', async () => {
  let fail: (error: Error) => void = () => {}
  const work = new Promise<never>((_resolve, reject) => (fail = reject))
  await expect(withDeadline(work, 5, late)).rejects.toThrow('late')
  fail(new Error('too late to matter'))
  await new Promise((resolve) => setImmediate(resolve))
})

test('waits double up to the longest, and start again after a reset', () => {
  const backoff = new Backoff(100, 300)
  const within = (ms: number, most: number): void => {
    expect(ms).toBeGreaterThanOrEqual(most / 2)
    expect(ms).toBeLessThanOrEqual(most)
  }
  for (const most of [100, 200, 300, 300]) within(backoff.nextMs(), most)
  backoff.reset()
  within(backoff.nextMs(), 100)
})

test('a wait ends with its signal', async () => {
  await expect(new Backoff(10_000, 10_000).wait(AbortSignal.abort())).rejects.toThrow('aborted')
})
