import { expect, test } from '@jest/globals'
import { encodeBinary, encodeText } from './input.ts'

test('typed text is UTF-8, binary reports are one byte each', () => {
  expect([...encodeText('é€')]).toEqual([0xc3, 0xa9, 0xe2, 0x82, 0xac])
  expect([...encodeBinary('\x1b[M\u00e9\u00ff')]).toEqual([0x1b, 0x5b, 0x4d, 0xe9, 0xff])
})
