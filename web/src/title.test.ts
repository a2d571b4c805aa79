import { describe, expect, test } from '@jest/globals'
import { cleanTitle, documentTitle, MAX_TITLE_CHARS } from './title.ts'

describe('cleanTitle', () => {
  test('drops C0, DEL and C1', () => {
    expect(cleanTitle('a\x00\x07\x1b]b\x7f\u0085\u009bc')).toBe('a]bc')
  })
  test('drops bidi overrides, isolates and zero-width characters', () => {
    expect(cleanTitle('pay\u202epal\u2066.com\u200b\ufeff')).toBe('paypal.com')
  })
  test('is cut after 80 characters, never inside a surrogate pair', () => {
    const cut = cleanTitle('😀'.repeat(100))
    expect(Array.from(cut)).toHaveLength(MAX_TITLE_CHARS)
    expect(cut.isWellFormed()).toBe(true)
  })
  test('replaces half a surrogate pair', () => {
    expect(cleanTitle('a\ud800b').isWellFormed()).toBe(true)
  })
})

test('the tab’s title begins with the state and the session, before the program’s own title', () => {
  const id = '0a1b2c3d-0000-4000-8000-000000000000'
  expect(documentTitle('✓', id, 'npm test')).toBe('✓ 0a1b2c3d · npm test · CLI Scale')
  expect(documentTitle('▶', id, '\u202e')).toBe('▶ 0a1b2c3d · CLI Scale')
  expect(documentTitle('', undefined, '')).toBe('CLI Scale')
})
