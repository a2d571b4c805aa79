import { describe, expect, test } from '@jest/globals'
import { decodeOutput, encodeFrame, encodeOutput, FrameDecoder, FrameType, MAX_FRAME_BYTES } from './frames.ts'

describe('frames', () => {
  const bytes = Buffer.concat([
    encodeFrame(FrameType.json, Buffer.from('{"a":1}')),
    encodeFrame(FrameType.input),
    encodeOutput(2 ** 40 + 7, Buffer.from('out')),
  ])

  test('decode to what was encoded, however the stream is split', () => {
    for (let size = 1; size <= bytes.length; size++) {
      const decoder = new FrameDecoder()
      const frames = []
      for (let at = 0; at < bytes.length; at += size) frames.push(...decoder.push(bytes.subarray(at, at + size)))
      expect(frames.map(({ type }) => type)).toEqual([FrameType.json, FrameType.input, FrameType.output])
      expect(frames[0]!.body.toString()).toBe('{"a":1}')
      expect(frames[1]!.body.length).toBe(0)
      const { offset, bytes: out } = decodeOutput(frames[2]!.body)
      expect([offset, out.toString()]).toEqual([2 ** 40 + 7, 'out'])
    }
  })

  test.each([0, MAX_FRAME_BYTES + 1, 0xffffffff])('of the length %d are refused before anything is kept', (length) => {
    const head = Buffer.alloc(5)
    head.writeUInt32BE(length)
    expect(() => new FrameDecoder().push(head)).toThrow(RangeError)
  })

  test('of output without an offset are refused', () => {
    expect(() => decodeOutput(Buffer.from([1, 2]))).toThrow('outside buffer bounds')
  })

  test('that would be too large are not made', () => {
    expect(() => encodeFrame(FrameType.input, Buffer.alloc(MAX_FRAME_BYTES))).toThrow(TypeError)
  })
})
