import { describe, expect, test } from '@jest/globals'
import { cleanPaste, needsConfirm, pasteLines } from './paste.ts'

describe('cleanPaste', () => {
  test('removes every ESC, so that no sequence can end the bracketed paste', () => {
    expect(cleanPaste('x \x1b[201~ \r touch pwned \r')).toBe('x [201~ \r touch pwned \r')
    expect(cleanPaste('\x1b\x1b[201~\x1b[20\x1b[201~1~')).not.toContain('\x1b')
  })

  test('removes C1 controls, which 8-bit terminals read as ESC [', () => {
    expect(cleanPaste('a\u009b201~b\u0080\u009fc')).toBe('a201~bc')
  })

  test('removes C0 controls that a terminal acts on, and DEL', () => {
    expect(cleanPaste('a\x03\x04\x1a\x00\x7fb')).toBe('ab')
  })

  test('keeps tabs, line breaks and all other text', () => {
    const text = 'if x:\n\tprint("é 漢字 👩‍👩‍👧")\r\nend\r'
    expect(cleanPaste(text)).toBe(text)
  })
})

describe('needsConfirm', () => {
  test.each([
    ['one line', 'ls -l', false, false],
    ['a line with its end', 'ls -l\n', false, true],
    ['two lines with CR', 'a\rb', false, true],
    ['two lines in brackets', 'a\nb', true, false],
  ])('%s', (_name, text, bracketed, asked) => {
    expect(needsConfirm(text, bracketed)).toBe(asked)
  })
})

test('pasteLines returns the lines that would run', () => {
  expect(pasteLines('a\nb\n')).toEqual(['a', 'b'])
  expect(pasteLines('a\r\n\r\nb')).toEqual(['a', '', 'b'])
  expect(pasteLines('a')).toEqual(['a'])
})
