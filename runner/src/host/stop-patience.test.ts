import { STOP_LIMITS } from '@cliscale/contract'
import { expect, test } from '@jest/globals'
import { StopPatience } from './stop-patience.ts'

const { graceMs, silenceMs, drainMs } = STOP_LIMITS

test('gives up a silent work just after its grace period', () => {
  let now = 0
  const patience = new StopPatience(() => now)
  expect(patience.leftMs).toBe(Infinity)
  patience.begin('user')
  expect(patience.leftMs).toBe(graceMs + silenceMs)
  now = 5000
  patience.heard()
  patience.begin('user')
  now = graceMs + silenceMs
  expect(patience.isOver).toBe(false)
  now++
  expect(patience.isOver).toBe(true)
})

test('gives more time to a work that still sends output, but not without limit', () => {
  let now = 0
  const patience = new StopPatience(() => now)
  patience.begin('deadline')
  for (; now < 60_000 && !patience.isOver; now += silenceMs - 1) patience.heard()
  expect(now).toBeGreaterThan(graceMs + drainMs)
  expect(now).toBeLessThan(graceMs + drainMs + 2 * silenceMs)
})

test('waits five seconds for output of a work that has gone, also during a stop', () => {
  let now = 0
  const patience = new StopPatience(() => now)
  patience.begin('user')
  now = 1000
  patience.begin('work_gone')
  expect(patience.leftMs).toBe(5000)
  now = 8000
  patience.heard()
  expect(patience.isOver).toBe(true)
})
