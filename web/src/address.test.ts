import { expect, test } from '@jest/globals'
import { baseOf, readAddress } from './address.ts'

const ID = '0b9f6a1e-3c56-4d1f-9a53-2f6a6a5f3a10'

test('reads id and token, and removes the token from the address', () => {
  expect(readAddress({ pathname: `/ws/${ID}`, search: '?token=a.b-c_d&x=1' })).toEqual({
    sessionId: ID,
    base: '',
    token: 'a.b-c_d',
    cleanPath: `/ws/${ID}`,
  })
})

test('an empty token counts as none', () => {
  expect(readAddress({ pathname: `/ws/${ID}`, search: '?token=' }).token).toBeUndefined()
})

test.each(['/ws/', '/ws/$(reboot)', `/ws/${ID}/x`, `/ws/${ID};id`, '/'])('%s is no session', (pathname) => {
  expect(readAddress({ pathname, search: '' }).sessionId).toBeUndefined()
})

test('a proxy may add a path prefix', () => {
  const address = readAddress({ pathname: `/tools/cli-1/ws/${ID}`, search: '' })
  expect([address.sessionId, address.base]).toEqual([ID, '/tools/cli-1'])
  expect(['/', '/tools/', '/tools/cli', '//evil.example/'].map(baseOf)).toEqual(['', '/tools', '/tools/cli', ''])
})

test.each([`/$(id)/ws/${ID}`, `/a;b/ws/${ID}`, `/'x/ws/${ID}`, `//evil.example/ws/${ID}`, `/a b/ws/${ID}`])(
  'a path that a shell would read is none of ours: %s',
  (pathname) => {
    expect(readAddress({ pathname, search: '' })).toMatchObject({ sessionId: undefined, base: '' })
  },
)
