import { expect, test } from '@jest/globals'
import { readAddress } from './address.ts'

const ID = '0b9f6a1e-3c56-4d1f-9a53-2f6a6a5f3a10'

test('takes id and token, and leaves the token out of the address', () => {
  expect(readAddress({ pathname: `/ws/${ID}`, search: '?token=a.b-c_d&x=1' })).toEqual({
    sessionId: ID,
    token: 'a.b-c_d',
    cleanPath: `/ws/${ID}`,
  })
})

test('an empty token is none', () => {
  expect(readAddress({ pathname: `/ws/${ID}`, search: '?token=' }).token).toBeUndefined()
})

test.each(['/ws/', '/ws/$(reboot)', `/ws/${ID}/x`, `/ws/${ID};id`, '/'])('%s is no session', (pathname) => {
  expect(readAddress({ pathname, search: '' }).sessionId).toBeUndefined()
})
