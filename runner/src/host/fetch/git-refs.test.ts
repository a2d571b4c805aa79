import { describe, expect, test } from '@jest/globals'
import { isVersion2, lsRefsRequest, parseRefs, splitRef } from './git-refs.ts'

const oid = 'a'.repeat(40)
function pkt(...lines: string[]): Buffer {
  return Buffer.from(
    lines.map((line) => (line === '' ? '0000' : (line.length + 4).toString(16).padStart(4, '0') + line)).join(''),
  )
}

describe('splitRef', () => {
  const refs = [
    'refs/heads/main',
    'refs/heads/feature/a',
    'refs/tags/v1',
    'refs/heads/v1',
    'refs/tags/only',
    'refs/heads/f',
  ]
  test.each([
    ['main', 'refs/heads/main', ''],
    ['main/src/lib', 'refs/heads/main', 'src/lib'],
    ['feature/a/b', 'refs/heads/feature/a', 'b'],
    ['v1/x', 'refs/heads/v1', 'x'],
    ['only/x', 'refs/tags/only', 'x'],
    ['refs/tags/v1/x', 'refs/tags/v1', 'x'],
    ['f/main', 'refs/heads/f', 'main'],
    [`${oid}/x`, oid, 'x'],
    ['abc1234', 'abc1234', ''],
  ])('%s is %s and the folder %p', (text, ref, folder) => expect(splitRef(text, refs)).toMatchObject({ ref, folder }))

  test.each(['mainx', 'mai', 'feature', 'ABCDEF1', '-o', 'HEAD', 'HEAD~1', '@{u}'])('%s is refused', (text) =>
    expect(() => splitRef(text, refs)).toThrow(/There is no branch, tag or commit/),
  )
})

describe('parseRefs', () => {
  test('reads an answer to ls-refs', () => {
    expect(parseRefs(pkt(`${oid} refs/heads/main\n`, `${oid} refs/tags/v1 peeled:${oid}\n`, ''))).toEqual([
      'refs/heads/main',
      'refs/tags/v1',
    ])
  })

  test('reads an old advertisement, without peeled tags and other refs', () => {
    const old = pkt(
      '# service=git-upload-pack\n',
      '',
      `${oid} HEAD\0caps\n`,
      `${oid} refs/heads/main\n`,
      `${oid} refs/pull/1/head\n`,
      `${oid} refs/tags/v1^{}\n`,
      '',
    )
    expect(parseRefs(old)).toEqual(['refs/heads/main'])
    expect(isVersion2(old)).toBe(false)
  })

  test('tells version 2', () =>
    expect(isVersion2(pkt('# service=git-upload-pack\n', '', 'version 2\n', ''))).toBe(true))

  test.each(['<html>', '0003', 'ffff', '00', '-001x'])('refuses %p', (text) =>
    expect(() => parseRefs(Buffer.from(text))).toThrow(/git repository/),
  )
})

test('lsRefsRequest is made of whole pkt-lines', () => {
  expect(lsRefsRequest().toString()).toBe(
    '0014command=ls-refs\n0001001bref-prefix refs/heads/\n001aref-prefix refs/tags/\n0000',
  )
})
