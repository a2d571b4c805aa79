import { LIMITS } from '@cliscale/contract'
import { expect, test } from '@jest/globals'
import { HOSTLESS_LIMIT_MS, IDLE_LIMIT_MS, isAbandoned } from './hostless.ts'

test('work that no host ever contacted gives up sooner than work whose command runs', () => {
  expect(isAbandoned('waiting', undefined, 1e12)).toBe(false)
  expect(isAbandoned('waiting', 0, IDLE_LIMIT_MS - 1)).toBe(false)
  expect(isAbandoned('waiting', 0, IDLE_LIMIT_MS)).toBe(true)
  expect(isAbandoned('prepared', 0, IDLE_LIMIT_MS)).toBe(true)
  expect(isAbandoned('running', 0, IDLE_LIMIT_MS)).toBe(false)
  expect(isAbandoned('running', 0, LIMITS.timeoutSeconds.max * 1000 - 1)).toBe(false)
  expect(isAbandoned('ended', 0, HOSTLESS_LIMIT_MS)).toBe(true)
})
