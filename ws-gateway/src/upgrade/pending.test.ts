import { expect, test } from '@jest/globals'
import { createPendingUpgrades } from './pending.ts'

test('places are limited per address and in total, and are given back once', () => {
  const pending = createPendingUpgrades({ total: 3, perAddress: 2 })
  const refused = expect.objectContaining({ code: 'too_many_connections' })
  const leave = pending.enter('a')
  pending.enter('a')
  expect(() => pending.enter('a')).toThrow(refused as never)
  pending.enter('b')
  expect(() => pending.enter('c')).toThrow(refused as never)
  leave()
  leave()
  expect(pending.count).toBe(2)
  pending.enter('c')
  expect(() => pending.enter('b')).toThrow(refused as never)
})
