import { expect, test } from '@jest/globals'
import { MIN_SHRUNK_FONT, shrunkFontSize } from './plan-size.ts'

test('a session that fits keeps the text size', () => {
  expect(shrunkFontSize({ columns: 80, rows: 24 }, { columns: 120, rows: 40 }, 14)).toBe(14)
})

test('a larger session shrinks until both sides fit, in half pixels', () => {
  expect(shrunkFontSize({ columns: 120, rows: 40 }, { columns: 100, rows: 40 }, 14)).toBe(11.5)
  expect(shrunkFontSize({ columns: 120, rows: 80 }, { columns: 120, rows: 68 }, 14)).toBe(11.5)
})

test('text never becomes too small to read, nor larger than the chosen size', () => {
  expect(shrunkFontSize({ columns: 1000, rows: 500 }, { columns: 40, rows: 20 }, 14)).toBe(MIN_SHRUNK_FONT)
  expect(shrunkFontSize({ columns: 1000, rows: 500 }, { columns: 40, rows: 20 }, 9)).toBe(9)
})
