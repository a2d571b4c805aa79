import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from '@jest/globals'
import { createFront, isOwnOrigin, publicBase } from './front.ts'

function request(headers: Record<string, string>, socket: object = { remoteAddress: '10.0.0.9' }): IncomingMessage {
  return { headers, socket } as unknown as IncomingMessage
}

describe('the front of a request', () => {
  test('comes from the socket and Host when no proxy is trusted', () => {
    const front = createFront({ trustedProxyHops: 0 })
    const req = request({ host: 'a.example:8080', 'x-forwarded-proto': 'https', 'x-forwarded-for': '1.2.3.4' })
    expect([front.origin(req), front.isSecure(req), front.address(req)]).toEqual([
      'http://a.example:8080',
      false,
      '10.0.0.9',
    ])
    expect(front.origin(request({ host: 'a.example' }, { encrypted: true }))).toBe('https://a.example')
  })

  test('comes from what the outermost trusted proxy saw, and ignores what the client added before it', () => {
    const front = createFront({ trustedProxyHops: 2 })
    const req = request({
      host: 'a.example',
      'x-forwarded-proto': 'https',
      'x-forwarded-for': '6.6.6.6, 1.2.3.4, 10.0.0.1',
    })
    expect([front.origin(req), front.address(req)]).toEqual(['https://a.example', '1.2.3.4'])
    expect(front.address(request({ 'x-forwarded-for': '1.2.3.4' }))).toBe('1.2.3.4')
  })

  test('is CLISCALE_PUBLIC_URL where that is set', () => {
    const front = createFront({ publicUrl: 'https://cliscale.example', trustedProxyHops: 0 })
    expect(front.origin(request({ host: 'evil.example' }))).toBe('https://cliscale.example')
    expect(front.isSecure(request({}))).toBe(true)
  })

  test('has no origin without a usable Host', () => {
    const front = createFront({ trustedProxyHops: 0 })
    for (const host of ['', 'a b', 'a/b', 'a@b', 'a"b', 'a:99999', '[::1', 'a'.repeat(300)])
      expect([host, front.origin(request({ host }))]).toEqual([host, undefined])
    expect(front.origin(request({}))).toBeUndefined()
    expect(front.origin(request({ host: '[::1]:7080' }))).toBe('http://[::1]:7080')
  })

  test('recognises our own pages among others', () => {
    const front = createFront({ trustedProxyHops: 0 })
    const from = (origin: string) => isOwnOrigin(front, request({ host: 'a.example', origin }), { missingIsOwn: true })
    expect(['http://a.example', 'https://a.example', 'null', 'http://a.example.evil'].map(from)).toEqual([
      true,
      false,
      false,
      false,
    ])
    const none = request({ host: 'a.example' })
    expect(isOwnOrigin(front, none, { missingIsOwn: true })).toBe(true)
    expect(isOwnOrigin(front, none, { missingIsOwn: false })).toBe(false)
  })
})

describe('a public address', () => {
  test.each([
    ['https://a.example', 'https://a.example'],
    ['https://a.example/', 'https://a.example'],
    ['https://a.example:8443/tools/cli/', 'https://a.example:8443/tools/cli'],
    ['http://A.example/x', 'http://a.example/x'],
  ])('%s becomes the start of every link', (text, base) => {
    expect(publicBase(text)).toBe(base)
  })

  test.each([
    'a.example',
    'ftp://a.example',
    'https://user@a.example',
    'https://a.example/?x',
    'https://a.example/#x',
    'https://a.example/$(id)',
    'https://a.example//x',
    "https://a.example/'",
    'https://a.example/a%20b',
  ])('%s is refused', (text) => {
    expect(publicBase(text)).toBeUndefined()
  })

  test('puts its path into links, but not into the origin of requests', () => {
    const front = createFront({ publicUrl: 'https://a.example/tools', trustedProxyHops: 0 })
    const req = { headers: { host: 'x', origin: 'https://a.example' }, socket: {} } as unknown as IncomingMessage
    expect([front.base(req), front.origin(req)]).toEqual(['https://a.example/tools', 'https://a.example'])
    expect(isOwnOrigin(front, req, { missingIsOwn: false })).toBe(true)
  })
})
