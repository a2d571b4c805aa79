import { expect, test } from '@jest/globals'
import { controlOf, touchKeyData } from './touch-keys.ts'

test.each([
  ['c', '\x03'],
  ['C', '\x03'],
  ['d', '\x04'],
  [' ', '\0'],
  ['[', '\x1b'],
  ['\\', '\x1c'],
  ['_', '\x1f'],
  ['?', '\x7f'],
  ['1', undefined],
  ['é', undefined],
  ['cc', undefined],
  ['', undefined],
])('Ctrl and %j are %j', (typed, control) => {
  expect(controlOf(typed)).toBe(control)
})

test('arrows follow the mode that the program chose, and Ctrl', () => {
  const plain = { ctrl: false, applicationCursor: false }
  expect(touchKeyData('ArrowUp', plain)).toBe('\x1b[A')
  expect(touchKeyData('ArrowLeft', { ...plain, applicationCursor: true })).toBe('\x1bOD')
  expect(touchKeyData('ArrowRight', { ctrl: true, applicationCursor: true })).toBe('\x1b[1;5C')
  expect([touchKeyData('Escape', plain), touchKeyData('Tab', plain)]).toEqual(['\x1b', '\t'])
})
