import { describe, expect, test } from '@jest/globals'
import { MAX_OSC52_BYTES, parseOsc52 } from './osc52.ts'

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
    ['more than 100 KB', `c;${'QUFB'.repeat(MAX_OSC52_BYTES / 4)}AAAA`],
  ])('ignores %s', (_name, body) => {
    expect(parseOsc52(body)).toEqual({ kind: 'ignored' })
  })
})
