import { expect, test } from '@jest/globals'
import { MAX_CLIENT_MESSAGE_BYTES } from '@cliscale/contract/terminal'
import { inputMessages } from './input-messages.ts'

test('a large paste is split, in order, with nothing lost', () => {
  const bytes = Uint8Array.from({ length: 150_000 }, (_, i) => i % 251)
  const messages = inputMessages(bytes)
  expect(messages.map((message) => message.length)).toEqual([
    MAX_CLIENT_MESSAGE_BYTES,
    MAX_CLIENT_MESSAGE_BYTES,
    18_929,
  ])
  expect(messages.every((message) => message[0] === 0x30)).toBe(true)
  expect(Buffer.concat(messages.map((message) => message.subarray(1))).equals(bytes)).toBe(true)
})

test('nothing typed sends nothing', () => {
  expect(inputMessages(new Uint8Array(0))).toEqual([])
})
