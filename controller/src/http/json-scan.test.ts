import { describe, expect, test } from '@jest/globals'
import { findJsonFault } from './json-scan.ts'

const DEPTH = 8

describe('a JSON text', () => {
  const GOOD = ['{}', ' [1, -0.5e+3, "\\u00e9\\n", true, false, null] ', '"x"', '0', '{"a":{"b":[]},"c":""}', '[[],{}]']
  test.each(GOOD)('%s is valid', (text) => {
    JSON.parse(text)
    expect(findJsonFault(text, DEPTH)).toBeUndefined()
  })

  const BAD: [string, number][] = [
    ['', 0],
    ['{', 1],
    ['{"a"', 4],
    ['{"a" 1}', 5],
    ['{"a":1,}', 7],
    ['[1,]', 3],
    ['[1 2]', 3],
    ['{a:1}', 1],
    ["{'a':1}", 1],
    ['01', 1],
    ['NaN', 0],
    ['-', 0],
    ['+1', 0],
    ['1.', 1],
    ['{"a":NaN}', 5],
    ['"a\nb"', 0],
    ['"\\x"', 0],
    ['"abc', 0],
    ['{}{}', 2],
    ['[}', 1],
    ['{]', 1],
    ['nul', 0],
    ['\u00a0{}', 0],
  ]
  test.each(BAD)('%j is broken at position %d', (text, position) => {
    expect(() => JSON.parse(text)).toThrow(SyntaxError)
    expect(findJsonFault(text, DEPTH)).toEqual({ kind: 'syntax', position })
  })

  test('may be nested to the limit and no deeper', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
    expect(findJsonFault(nested(DEPTH), DEPTH)).toBeUndefined()
    expect(findJsonFault(nested(DEPTH + 1), DEPTH)).toEqual({ kind: 'depth', position: DEPTH })
    expect(findJsonFault('['.repeat(1_000_000), DEPTH)).toEqual({ kind: 'depth', position: DEPTH })
  })

  test('may not name a key twice in one object, in any spelling', () => {
    expect(findJsonFault('{"a":1,"\\u0061":2}', DEPTH)).toEqual({ kind: 'duplicate_key', position: 7 })
    expect(findJsonFault('{"a":{"a":1},"b":{"a":2}}', DEPTH)).toBeUndefined()
    expect(findJsonFault('{"__proto__":1,"__proto__":2}', DEPTH)?.kind).toBe('duplicate_key')
  })

  test('is judged as JSON.parse judges it, for any mixture of tokens', () => {
    const tokens = ['{', '}', '[', ']', ',', ':', '"a"', '"b"', '1', 'null', ' ']
    let seed = 7
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below
    for (let i = 0; i < 1_000; i += 1) {
      const text = Array.from({ length: 1 + random(7) }, () => tokens[random(tokens.length)]).join('')
      const fault = findJsonFault(text, DEPTH)
      if (fault?.kind === 'duplicate_key') continue
      let valid = true
      try {
        JSON.parse(text)
      } catch {
        valid = false
      }
      expect([text, fault === undefined]).toEqual([text, valid])
    }
  })
})
