import { describe, expect, test } from '@jest/globals'
import { findRef, isVersion2, lsRefsRequest, parseRefs, splitRef, wholeCommit } from './git-refs.ts'

const oid = 'a'.repeat(40)
const peeled = 'b'.repeat(40)
function pkt(...lines: string[]): Buffer {
  return Buffer.from(
    lines.map((line) => (line === '' ? '0000' : (line.length + 4).toString(16).padStart(4, '0') + line)).join(''),
  )
}

describe('splitRef', () => {
  const names = [
    'refs/heads/main',
    'refs/heads/feature/a',
    'refs/tags/v1',
    'refs/heads/v1',
    'refs/tags/only',
    'refs/heads/f',
    'refs/heads/abcdef1',
  ]
  const refs = new Map(names.map((name, i) => [name, `${i}abc`.padEnd(40, '0')]))
  test.each([
    ['main', 'refs/heads/main', ''],
    ['main/src/lib', 'refs/heads/main', 'src/lib'],
    ['feature/a/b', 'refs/heads/feature/a', 'b'],
    ['v1/x', 'refs/heads/v1', 'x'],
    ['only/x', 'refs/tags/only', 'x'],
    ['refs/tags/v1/x', 'refs/tags/v1', 'x'],
    ['f/main', 'refs/heads/f', 'main'],
    [`${oid}/x`, oid, 'x'],
    ['abcdef1/x', 'refs/heads/abcdef1', 'x'],
    ['ABCDEF2', 'abcdef2', ''],
    ['abc1234', 'abc1234', ''],
  ])('splits %s into %s and %p', (text, ref, folder) => expect(splitRef(text, refs)).toMatchObject({ ref, folder }))

  test.each(['mainx', 'mai', 'feature', '-o', 'HEAD', 'HEAD~1', '@{u}'])('refuses %s', (text) =>
    expect(() => splitRef(text, refs)).toThrow(/There is no branch, tag or commit/),
  )

  test('looks only among branches or only among tags when the URL says which', () => {
    expect(splitRef('v1/x', refs, 'tags').ref).toBe('refs/tags/v1')
    expect(splitRef('v1/x', refs, 'heads').ref).toBe('refs/heads/v1')
    expect(() => splitRef('only/x', refs, 'heads')).toThrow(/There is no branch/)
  })

  test.each([
    ['main', 'refs/heads/main'],
    ['feature/a', 'refs/heads/feature/a'],
    ['v1', 'refs/heads/v1'],
    ['refs/tags/v1', 'refs/tags/v1'],
    ['abcdef1', 'refs/heads/abcdef1'],
    ['ABCDEF9', 'abcdef9'],
  ])('findRef resolves %s to %s', (text, ref) => expect(findRef(text, refs)).toBe(ref))

  test.each(['main/x', 'mian', 'feature', 'HEAD', 'heads/main'])('findRef refuses %s', (text) =>
    expect(() => findRef(text, refs)).toThrow(/There is no branch, tag or commit/),
  )

  test('wholeCommit completes an abbreviation when exactly one commit with a name starts with it', () => {
    expect(wholeCommit('1abc', refs)).toBe('1abc'.padEnd(40, '0'))
    expect(wholeCommit(oid, refs)).toBe(oid)
    expect(() => wholeCommit('abc1234', refs)).toThrow(/all of its 40 digits/)
    const twins = new Map([
      ['refs/heads/a', `abcd1${'0'.repeat(35)}`],
      ['refs/heads/b', `abcd2${'0'.repeat(35)}`],
    ])
    expect(() => wholeCommit('abcd', twins)).toThrow(/all of its 40 digits/)
  })
})

describe('parseRefs', () => {
  test('reads an answer to ls-refs', () => {
    expect(parseRefs(pkt(`${oid} refs/heads/main\n`, `${oid} refs/tags/v1 peeled:${peeled}\n`, ''))).toEqual(
      new Map([
        ['refs/heads/main', oid],
        ['refs/tags/v1', peeled],
      ]),
    )
  })

  test('reads an older advertisement, without other refs', () => {
    const old = pkt(
      '# service=git-upload-pack\n',
      '',
      `${oid} HEAD\0caps\n`,
      `${oid} refs/heads/main\n`,
      `${oid} refs/pull/1/head\n`,
      `${oid} refs/tags/v1\n`,
      `${peeled} refs/tags/v1^{}\n`,
      '',
    )
    expect(parseRefs(old)).toEqual(
      new Map([
        ['refs/heads/main', oid],
        ['refs/tags/v1', peeled],
      ]),
    )
    expect(isVersion2(old)).toBe(false)
  })

  test('recognises version 2', () =>
    expect(isVersion2(pkt('# service=git-upload-pack\n', '', 'version 2\n', ''))).toBe(true))

  test.each(['<html>', '0003', 'ffff', '00', '-001x'])('refuses %p', (text) =>
    expect(() => parseRefs(Buffer.from(text))).toThrow(/git repository/),
  )
})

test('lsRefsRequest consists of whole pkt-lines', () => {
  expect(lsRefsRequest().toString()).toBe(
    '0014command=ls-refs\n00010009peel\n001bref-prefix refs/heads/\n001aref-prefix refs/tags/\n0000',
  )
})
