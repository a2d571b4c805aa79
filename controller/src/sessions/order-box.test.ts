import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { canonicalJson, fingerprint, parseDataKey } from './data-key.ts'
import { openOrder, sealOrder } from './order-box.ts'

const KEY = randomBytes(32)
const ID = '0d9cbd9f-6e2e-4b7e-9a53-0b2ad6b5d7f3'
const OTHER_ID = '7f0f3c3e-3a39-4a0b-8f6c-1f4f0c8d2d11'
const ORDER = {
  command: 'echo "$SECRET" ünï',
  codeUrl: 'https://example.com/a.zip?signature=canary-9f',
  checksumSha256: null,
  prompt: null,
  installCmd: '',
  env: { SECRET: 'canary-1b' },
}

describe('a sealed work order', () => {
  test('opens to what went in', () => {
    expect(openOrder(KEY, ID, sealOrder(KEY, ID, ORDER))).toEqual(ORDER)
  })

  test('reveals nothing of its content and never looks the same twice', () => {
    const [one, two] = [sealOrder(KEY, ID, ORDER), sealOrder(KEY, ID, ORDER)]
    expect(one.includes('canary')).toBe(false)
    expect(one.equals(two)).toBe(false)
  })

  test('does not open for another session, with another key, or with one bit changed', () => {
    const sealed = sealOrder(KEY, ID, ORDER)
    expect(() => openOrder(KEY, OTHER_ID, sealed)).toThrow(/cannot be opened/)
    expect(() => openOrder(randomBytes(32), ID, sealed)).toThrow(/cannot be opened/)
    for (let at = 1; at < sealed.length; at++) {
      const changed = Buffer.from(sealed)
      changed[at]! ^= 1
      expect(() => openOrder(KEY, ID, changed)).toThrow(/cannot be opened/)
    }
  })

  test('does not open when it is cut short or has an unknown version', () => {
    const sealed = sealOrder(KEY, ID, ORDER)
    for (const bytes of [Buffer.alloc(0), sealed.subarray(0, 20), Buffer.concat([Buffer.of(2), sealed.subarray(1)])])
      expect(() => openOrder(KEY, ID, bytes)).toThrow(/layout/)
  })
})

describe('the data key', () => {
  test('is read from base64, base64url and hexadecimal digits, with blanks around it', () => {
    for (const text of [
      KEY.toString('base64'),
      KEY.toString('base64url'),
      KEY.toString('hex'),
      ` ${KEY.toString('hex')}\n`,
    ])
      expect(parseDataKey(text)?.equals(KEY)).toBe(true)
  })

  test('is refused with any other length', () => {
    for (const text of ['', 'x', randomBytes(31).toString('hex'), randomBytes(33).toString('base64'), 'ü'.repeat(43)])
      expect(parseDataKey(text)).toBeUndefined()
  })
})

describe('the fingerprint of a body', () => {
  test('is the same for any order of the keys, and differs for another body or key', () => {
    const one = fingerprint(KEY, { a: 1, env: { X: '1', Y: '2' } })
    expect(one.equals(fingerprint(KEY, { env: { Y: '2', X: '1' }, a: 1 }))).toBe(true)
    expect(one.equals(fingerprint(KEY, { a: 1, env: { X: '1', Y: '3' } }))).toBe(false)
    expect(one.equals(fingerprint(randomBytes(32), { a: 1, env: { X: '1', Y: '2' } }))).toBe(false)
  })

  test('distinguishes a key named __proto__ from none', () => {
    expect(canonicalJson(JSON.parse('{"__proto__":{"a":1}}'))).not.toBe(canonicalJson({}))
  })
})
