import { execFileSync } from 'node:child_process'
import { expect, test } from '@jest/globals'
import { gitRefFault } from '../src/git-ref.ts'

const CORPUS =
  'main feature/a v1.0 a.b a-b a@b @x a@ #1 ü 😀 a%b a{b a} a=b a&b a,b a;b $(x) a"b a\'b a!b a+b HEAD refs/heads/x 0 .a a/.b a. a/ /a a//b a..b a.lock a.lock/b a/b.lock a~ a^ a: a? a* a[ a] a\\b a@{b @ a/@/b @/b x.loc lock'.split(
    ' ',
  )

// The judge is git itself; we refuse only one more kind of the names that it accepts here: those with a leading dash.
test.each([...CORPUS, 'a b', 'a\tb', 'a\x7fb', ''])('%j is judged as git check-ref-format judges it', (ref) => {
  let isGood = true
  try {
    execFileSync('git', ['check-ref-format', `refs/heads/${ref}`])
  } catch {
    isGood = false
  }
  if (ref === '@') isGood = false
  expect(gitRefFault(ref) === undefined).toBe(isGood)
})

test('a name with a leading dash or a lone surrogate is refused', () => {
  expect(gitRefFault('-o')).toBeDefined()
  expect(gitRefFault('a\ud800')).toBeDefined()
})
