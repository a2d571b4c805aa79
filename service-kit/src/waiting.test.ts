import { getEventListeners } from 'node:events'
import { expect, test } from '@jest/globals'
import { Backoff, unlessAborted, withDeadline } from './waiting.ts'

const late = (): Error => new Error('late')

test('work that ends in time gives its result or its error', async () => {
  expect(await withDeadline(Promise.resolve(7), 1000, late)).toBe(7)
  await expect(withDeadline(Promise.reject(new Error('its own')), 1000, late)).rejects.toThrow('its own')
})

test('work that is late is abandoned, and its later failure does not end the process', async () => {
  let fail: (error: Error) => void = () => {}
  const work = new Promise<never>((_resolve, reject) => (fail = reject))
  await expect(withDeadline(work, 5, late)).rejects.toThrow('late')
  fail(new Error('too late to matter'))
  await new Promise((resolve) => setImmediate(resolve))
})

test('waits double up to the longest, and start over after a reset', () => {
  const backoff = new Backoff(100, 300)
  const within = (ms: number, most: number): void => {
    expect(ms).toBeGreaterThanOrEqual(most / 2)
    expect(ms).toBeLessThanOrEqual(most)
  }
  for (const most of [100, 200, 300, 300]) within(backoff.nextMs(), most)
  backoff.reset()
  within(backoff.nextMs(), 100)
})

test('a wait ends when its signal aborts', async () => {
  await expect(new Backoff(10_000, 10_000).wait(AbortSignal.abort())).rejects.toThrow('aborted')
})

test('work is abandoned when the signal aborts or already has, and its later failure does not end the process', async () => {
  const never = new Promise<never>(() => {})
  await expect(unlessAborted(never, AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  const stop = new AbortController()
  let fail: (error: Error) => void = () => {}
  const left = unlessAborted(new Promise<never>((_resolve, reject) => (fail = reject)), stop.signal)
  stop.abort(new Error('meanwhile'))
  await expect(left).rejects.toThrow('meanwhile')
  fail(new Error('too late to matter'))
  await expect(unlessAborted(Promise.reject(new Error('unheard')), stop.signal)).rejects.toThrow('meanwhile')
  await new Promise((resolve) => setImmediate(resolve))
})

test('work that ends before the signal gives its result and leaves no listener on the signal', async () => {
  const { signal } = new AbortController()
  expect(await unlessAborted(Promise.resolve(7), signal)).toBe(7)
  await expect(unlessAborted(Promise.reject(new Error('its own')), signal)).rejects.toThrow('its own')
  expect(getEventListeners(signal, 'abort')).toEqual([])
})
