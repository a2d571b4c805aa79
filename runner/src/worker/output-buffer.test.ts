import { expect, test } from '@jest/globals'
import { OutputBuffer } from './output-buffer.ts'

function filled(): OutputBuffer {
  const buffer = new OutputBuffer()
  for (const part of ['abc', 'de', '', 'fghi']) buffer.append(Buffer.from(part))
  return buffer
}

test('reads any length from any offset', () => {
  const buffer = filled()
  for (let from = 0; from <= 9; from++) {
    for (let length = 0; length <= 10; length++) {
      expect(buffer.read(from, length).toString()).toBe('abcdefghi'.slice(from, from + length))
    }
  }
})

test('drops only what is acknowledged, at any offset, and never goes back', () => {
  for (let offset = 0; offset <= 9; offset++) {
    const buffer = filled()
    buffer.acknowledge(offset)
    buffer.acknowledge(offset - 1)
    expect([buffer.base, buffer.head, buffer.unacknowledged]).toEqual([offset, 9, 9 - offset])
    expect(buffer.read(offset, 100).toString()).toBe('abcdefghi'.slice(offset))
    if (offset > 0) expect(() => buffer.read(offset - 1, 1)).toThrow(RangeError)
  }
})

test('treats an acknowledgement beyond its head as one of its head', () => {
  const buffer = filled()
  buffer.acknowledge(1000)
  expect([buffer.base, buffer.head]).toEqual([9, 9])
  buffer.append(Buffer.from('j'))
  expect(buffer.read(9, 5).toString()).toBe('j')
})
