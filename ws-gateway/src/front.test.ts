import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from '@jest/globals'
import { createFront, isOwnOrigin } from './front.ts'

const request = (headers: Record<string, string>, encrypted = false): IncomingMessage =>
  ({ headers, socket: { remoteAddress: '10.0.0.9', encrypted } }) as unknown as IncomingMessage

describe('without trusted proxies', () => {
  const front = createFront({ trustedProxyHops: 0 })
  test('forwarded headers are not believed', () => {
    const req = request({ host: 'a.test', 'x-forwarded-for': '1.1.1.1', 'x-forwarded-proto': 'https' })
    expect(front.address(req)).toBe('10.0.0.9')
    expect(front.isSecure(req)).toBe(false)
    expect(front.origin(req)).toBe('http://a.test')
  })
  test('a socket with TLS is secure', () => {
    expect(front.origin(request({ host: 'a.test:443' }, true))).toBe('https://a.test')
  })
  test.each([['a.test/x'], ['a@b'], ['a b'], ['']])('the Host %p has no origin', (host) => {
    expect(front.origin(request({ host }))).toBeUndefined()
  })
})

describe('behind trusted proxies', () => {
  test('the outermost one tells address and scheme, what stands before it is anybody’s', () => {
    const front = createFront({ trustedProxyHops: 2 })
    const req = request({ 'x-forwarded-for': '6.6.6.6, 1.2.3.4, 10.0.0.1', 'x-forwarded-proto': 'wss', host: 'a.test' })
    expect(front.address(req)).toBe('1.2.3.4')
    expect(front.origin(req)).toBe('https://a.test')
  })
})

describe('an Origin', () => {
  const front = createFront({ trustedProxyHops: 0, publicUrl: 'https://good.test/' })
  test.each([
    ['https://good.test', true],
    ['http://good.test', false],
    ['https://good.test:8443', false],
    ['https://good.test.evil.test', false],
    ['https://evil.test', false],
    ['null', false],
    ['', false],
    ['https://good.test, https://good.test', false],
  ])('%p is ours: %p', (origin, isOurs) => {
    expect(isOwnOrigin(front, request({ origin, host: 'evil.test' }), { missingIsOwn: true })).toBe(isOurs)
  })
  test('that is missing passes only where it may', () => {
    expect(isOwnOrigin(front, request({}), { missingIsOwn: true })).toBe(true)
    expect(isOwnOrigin(front, request({}), { missingIsOwn: false })).toBe(false)
  })
})
