import { expect, test } from '@jest/globals'
import { isStoreUnavailable } from './pool.ts'

const withCode = (code: string): Error => Object.assign(new Error('x'), { code })

test.each(['08006', '53300', '57P01', '57P03', '25006', 'ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EAI_AGAIN'])(
  '%s means that the database is unavailable for now',
  (code) => {
    expect(isStoreUnavailable(withCode(code))).toBe(true)
  },
)

test.each(['23505', '42P01', '22P02', ''])('%s means that we made a mistake', (code) => {
  expect(isStoreUnavailable(withCode(code))).toBe(false)
})

test('errors of the drivers that carry no code are recognised by their messages', () => {
  expect(isStoreUnavailable(new Error('Connection terminated unexpectedly'))).toBe(true)
  expect(isStoreUnavailable(new Error('timeout exceeded when trying to connect'))).toBe(true)
  expect(isStoreUnavailable(new Error('something else'))).toBe(false)
  expect(isStoreUnavailable('Connection terminated')).toBe(false)
})
