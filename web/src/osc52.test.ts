import { describe, expect, test } from '@jest/globals'
import { MAX_COPIED_BYTES, parseOsc52 } from './osc52.ts'

const base64 = (text: string): string => Buffer.from(text).toString('base64')

describe('parseOsc52', () => {
  test.each(['c', '', 'pc'])('copies for selection "%s"', (selection) => {
    expect(parseOsc52(`${selection};${base64('héllo')}`)).toEqual({ kind: 'copy', text: 'héllo' })
  })

  test.each([
    ['a read', 'c;?'],
    ['a read of no selection', ';?'],
    ['another selection', `p;${base64('x')}`],
    ['clearing', 'c;'],
    ['no separator', 'c'],
    ['broken base64', 'c;%%%'],
    ['bytes that are not UTF-8', `c;${Buffer.from([0xff, 0xfe]).toString('base64')}`],
  ])('ignores %s', (_name, body) => {
    expect(parseOsc52(body)).toEqual({ kind: 'ignored' })
  })

  test('copies 75 KB of text, and tells of more', () => {
    const most = 'ü'.repeat(MAX_COPIED_BYTES / 2)
    expect(parseOsc52(`c;${base64(most)}`)).toEqual({ kind: 'copy', text: most })
    expect(parseOsc52(`c;${base64(`${most}x`)}`)).toEqual({ kind: 'tooLarge' })
    expect(parseOsc52(`p;${base64(`${most}x`)}`)).toEqual({ kind: 'ignored' })
  })

  test('copies nothing that may have been cut', () => {
    expect(parseOsc52(`${'c'.repeat(50_000)};${base64('x'.repeat(60_000))}`)).toEqual({ kind: 'tooLarge' })
  })
})
