import { expect, test } from '@jest/globals'
import { typingWords } from './typing-words.ts'

test.each([
  [{ total: 0, taken: 0, unsent: 0 }, true, 9_000, undefined],
  [{ total: 3, taken: 0, unsent: 0 }, true, 100, undefined],
  [{ total: 1, taken: 0, unsent: 0 }, true, 1_500, '1 typed byte, waiting for the program to read'],
  [{ total: 12, taken: 2, unsent: 0 }, true, 1_500, '10 typed bytes, waiting for the program to read'],
  [{ total: 12, taken: 2, unsent: 10 }, false, 0, '10 typed bytes, waiting for the connection'],
  [{ total: 1_000_000, taken: 409_999, unsent: 1 }, true, 100, 'pasting 40 %'],
  [{ total: 1_000_000, taken: 999_999, unsent: 0 }, true, 100, 'pasting 99 %'],
  [{ total: 1_000_000, taken: 0, unsent: 1 }, true, 2_000, 'pasting 0 %, waiting for the program to read'],
  [{ total: 1_000_000, taken: 1_000_000, unsent: 0 }, false, 9_000, undefined],
])('%j (connected %s, no progress for %d ms) is %j', (typing, isConnected, waitsForMs, words) => {
  expect(typingWords(typing, isConnected, waitsForMs)).toBe(words)
})
