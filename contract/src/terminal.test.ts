import { describe, expect, test } from '@jest/globals'
import {
  ClientType,
  DEFAULT_SIZE,
  ServerType,
  clampSize,
  decodeServerMessage,
  encodeBytes,
  encodeClientHello,
  encodeJson,
  encodeSnapshot,
} from './terminal.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

describe('messages', () => {
  test('data keeps every byte, even bytes that are not UTF-8', () => {
    const body = bytes(0, 0xff, 0xfe, 0x0a, 0x1b)
    expect(decodeServerMessage(encodeBytes(ServerType.data, body))).toEqual({ type: 'data', bytes: body })
  })

  test('a snapshot splits at the first line feed only', () => {
    const body = bytes(0x0a, 0x41, 0x0a)
    expect(decodeServerMessage(encodeSnapshot(7, body))).toEqual({ type: 'snapshot', seq: 7, bytes: body })
  })

  test('the first message of a client begins with a brace, as ttyd requires', () => {
    const message = encodeClientHello({ columns: 80, rows: 24 })
    expect(message[0]).toBe(ClientType.first)
    expect(JSON.parse(new TextDecoder().decode(message))).toEqual({ columns: 80, rows: 24 })
  })

  test('an unknown type and an empty message are decoded as unknown, not as errors', () => {
    expect(decodeServerMessage(bytes(0x7a, 1))).toEqual({ type: 'unknown', code: 0x7a })
    expect(decodeServerMessage(bytes())).toEqual({ type: 'unknown', code: -1 })
  })

  test('broken JSON throws a SyntaxError', () => {
    expect(() => decodeServerMessage(bytes(ServerType.hello, 0x7b))).toThrow(SyntaxError)
  })

  test('sizes and the end travel as JSON', () => {
    expect(decodeServerMessage(encodeJson(ServerType.size, { columns: 1, rows: 2 }))).toEqual({
      type: 'size',
      size: { columns: 1, rows: 2 },
    })
  })
})

describe('clampSize', () => {
  test.each([
    [
      { columns: -1, rows: 1e9 },
      { columns: 120, rows: 500 },
    ],
    [
      { columns: 70_000, rows: 0 },
      { columns: 1000, rows: 40 },
    ],
    [
      { columns: Number.NaN, rows: '24' },
      { columns: 120, rows: 40 },
    ],
    [
      { columns: 80.9, rows: 24 },
      { columns: 80, rows: 24 },
    ],
    [{}, { columns: 120, rows: 40 }],
  ])('%j becomes %j', (value, expected) => {
    expect(clampSize(value, DEFAULT_SIZE)).toEqual(expected)
  })
})
