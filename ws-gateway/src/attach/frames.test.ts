import { describe, expect, test } from '@jest/globals'
import { binaryFrame, closeFrame, FirstMessageReader } from './frames.ts'

/** A client's frame. */
function frame(first: number, body: Buffer, options: { masked?: boolean } = {}): Buffer {
  const masked = options.masked ?? true
  const mask = Buffer.from([1, 2, 3, 4])
  const length =
    body.length < 126
      ? Buffer.from([body.length])
      : body.length < 65_536
        ? Buffer.from([126, body.length >> 8, body.length & 255])
        : Buffer.concat([Buffer.from([127, 0, 0, 0, 0]), Buffer.from(Uint32Array.of(body.length).buffer).reverse()])
  if (masked) length[0] = (length[0] ?? 0) | 0x80
  const payload = masked ? Buffer.from(body.map((byte, i) => byte ^ (mask[i & 3] ?? 0))) : body
  return Buffer.concat([Buffer.from([first]), length, masked ? mask : Buffer.alloc(0), payload])
}

const read = (...chunks: Buffer[]): unknown => {
  const reader = new FirstMessageReader(1_000)
  let answer: unknown
  for (const chunk of chunks) answer ??= reader.push(chunk)
  return answer
}
const fault = (code: number): unknown => expect.objectContaining({ type: 'fault', code })

describe('frames to a client', () => {
  test.each([
    [0, [0x82, 0]],
    [125, [0x82, 125]],
    [126, [0x82, 126, 0, 126]],
    [65_535, [0x82, 126, 255, 255]],
    [65_536, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
  ])('of %d bytes use the shortest form of their length', (size, head) => {
    const bytes = binaryFrame(Buffer.alloc(size, 7))
    expect([...bytes.subarray(0, head.length)]).toEqual(head)
    expect(bytes.length).toBe(head.length + size)
  })

  test('that close carry a code and at most 123 bytes of reason', () => {
    expect([...closeFrame(1012)]).toEqual([0x88, 2, 0x03, 0xf4])
    expect(closeFrame(1000, 'x'.repeat(500))[1]).toBe(125)
  })
})

describe('the first message of a client', () => {
  test.each([
    ['not masked', frame(0x82, Buffer.from('{}'), { masked: false }), 1002],
    ['with a reserved bit', frame(0xc2, Buffer.from('{}')), 1002],
    ['with opcode 3', frame(0x83, Buffer.from('{}')), 1002],
    ['with opcode 11', frame(0x8b, Buffer.from('')), 1002],
    ['a continuation without a start', frame(0x80, Buffer.from('{}')), 1002],
    ['a long ping', frame(0x89, Buffer.alloc(126)), 1002],
    ['a fragmented ping', frame(0x09, Buffer.from('')), 1002],
    ['text that is not UTF-8', frame(0x81, Buffer.from([0x7b, 0xff])), 1007],
    ['too large', frame(0x82, Buffer.alloc(1_001)), 1009],
  ])('is refused when it is %s', (_name, bytes, code) => {
    expect(read(bytes)).toEqual(fault(code))
  })

  test('is refused by its announced length alone, before any of it arrives', () => {
    const head = Buffer.from([0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255])
    expect(read(head)).toEqual(fault(1009))
  })

  test('is refused when its fragments add up to too much, or never end', () => {
    const part = frame(0x00, Buffer.alloc(400))
    expect(read(frame(0x02, Buffer.alloc(400)), part, part)).toEqual(fault(1009))
    const reader = new FirstMessageReader(1_000)
    let answer: unknown = reader.push(frame(0x02, Buffer.from('')))
    for (let i = 0; i < 1_001 && !answer; i += 1) answer = reader.push(frame(0x00, Buffer.from('')))
    expect(answer).toEqual(fault(1008))
  })

  test('is put together from fragments with a ping in between, byte by byte', () => {
    const bytes = Buffer.concat([
      frame(0x89, Buffer.from('hi')),
      frame(0x02, Buffer.from('{"a"')),
      frame(0x89, Buffer.from('')),
      frame(0x80, Buffer.from(':1}')),
    ])
    const pieces = [...bytes].map((byte) => Buffer.from([byte]))
    expect(read(...pieces)).toEqual({ type: 'message', body: Buffer.from('{"a":1}') })
  })

  test('with a length of 126 is read', () => {
    expect(read(frame(0x82, Buffer.alloc(300, 0x7b)))).toEqual({ type: 'message', body: Buffer.alloc(300, 0x7b) })
  })

  test('may be a Close', () => {
    expect(read(frame(0x88, Buffer.from([3, 232])))).toEqual({ type: 'close' })
  })
})
