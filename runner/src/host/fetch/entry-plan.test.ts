import { describe, expect, test } from '@jest/globals'
import { cleanPath, createEntryPlan, createLinkCheck, type NameRules, singleTopFolder } from './entry-plan.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { printable } from './refusal.ts'

describe('createLinkCheck', () => {
  const links = new Map([
    ['cur', '.'],
    ['par', 'cur/..'],
    ['d/up', '..'],
    ['abs', '/etc'],
    ['a', 'b'],
    ['b', 'a'],
    ['deep', 'd/up/d/up/d/up'],
  ])
  const leadsOut = createLinkCheck(links)
  const check = (path: string, target: string): boolean => leadsOut({ name: path, path, target })

  test.each([
    ['l', 'x/y', false],
    ['l', '.', false],
    ['l', '..', true],
    ['d/l', '..', false],
    ['d/l', '../..', true],
    ['l', 'x/../../y', true],
    ['l', 'd/up', false],
    ['l', 'd/up/..', true],
    ['l', 'cur/cur/cur', false],
    ['l', 'par', true],
    ['l', 'abs/passwd', true],
    ['l', 'deep/d', false],
    ['l', 'deep/..', true],
    ['l', '/x', true],
    ['l', 'C:x', true],
    ['l', '..\\x', true],
  ])('%s -> %s leads outside: %p', (path, target, expected) => expect(check(path, target)).toBe(expected))

  test('a loop is refused', () => expect(() => check('l', 'a')).toThrow(/link-loop/))

  test('many long chains are checked in bounded time', () => {
    const chain = new Map(Array.from({ length: 5000 }, (_, i) => [`l${i}`, `${'d/'.repeat(500)}l${i + 1}`]))
    chain.set('d', '.')
    const out = createLinkCheck(chain)
    const started = performance.now()
    expect(() => {
      for (const [path, target] of chain) out({ name: path, path, target })
    }).toThrow(/link-loop/)
    expect(performance.now() - started).toBeLessThan(1000)
  })
})

describe('cleanPath', () => {
  test.each([
    ['./a//b/./c', 'a/b/c'],
    ['./', ''],
    ['a/', 'a'],
    ['..a/b..', '..a/b..'],
    ['-rf', '-rf'],
  ])('%p becomes %p', (name, path) => expect(cleanPath(name, DEFAULT_LIMITS)).toBe(path))
})

describe('singleTopFolder', () => {
  test.each([
    [['a', 'a/b', 'a/c/d'], 'a'],
    [['a/b'], 'a'],
    [['a/b', 'c'], ''],
    [['a'], ''],
    [['', 'a', 'a/b'], 'a'],
    [[], ''],
    [['ab/c', 'a/c'], ''],
    [['a/b', '__MACOSX', '__MACOSX/a/._b', '._a', '.DS_Store'], 'a'],
    [['__MACOSX/x'], ''],
  ])('of %j is %p', (paths, top) => expect(singleTopFolder(paths)).toBe(top))
})

describe('names that differ only in case', () => {
  const finish = (names: NameRules, ...entries: (readonly [string, 'file' | 'symlink' | 'folder'])[]): unknown => {
    const plan = createEntryPlan(DEFAULT_LIMITS, names)
    for (const [name, kind] of entries) plan.add({ name, kind, size: 0, executable: false, target: 't' })
    return plan.finish({ root: () => '', outsideLinks: 'refuse' })
  }
  const twins = [['d/a', 'file'] as const, ['d/A', 'file'] as const]

  test('are accepted when they are files of a repository and the file system keeps them apart', () => {
    expect(() => finish('as-git-cased', ...twins)).not.toThrow()
    for (const names of ['portable', 'as-git'] as const)
      expect(() => finish(names, ...twins)).toThrow(/same-name-in-another-form/)
  })

  test.each([
    ['a link', [['A', 'symlink'] as const, ['a', 'file'] as const]],
    ['a folder', [['A/x', 'file'] as const, ['a', 'file'] as const]],
    ['folders', [['A/x', 'file'] as const, ['a/y', 'file'] as const]],
    ['Unicode forms', [['é', 'file'] as const, ['e\u0301', 'file'] as const]],
  ])('are refused everywhere when one is not a plain file in the same folder: %s', (_case, entries) =>
    expect(() => finish('as-git-cased', ...entries)).toThrow(/same-name-in-another-form/),
  )
})

describe('the number of entries', () => {
  test('R23: one entry too many is refused while the archive is listed', () => {
    const plan = createEntryPlan({ ...DEFAULT_LIMITS, entries: 3 })
    const add = (name: string): void => plan.add({ name, kind: 'file', size: 0, executable: false })
    ;['a', 'b', 'c'].forEach(add)
    expect(() => add('d')).toThrow(/too-many-entries.* 3 /)
  })
})

test('printable escapes what could act on a terminal, and cuts long names in the middle', () => {
  expect(printable('a\x1b]0;x\x07\u202eb\ud800')).toBe('"a\\u001b]0;x\\u0007\\u202eb\ufffd"')
  expect(printable('x'.repeat(500)).length).toBeLessThan(110)
})
