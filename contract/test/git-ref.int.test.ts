import { execFileSync } from 'node:child_process'
import { expect, test } from '@jest/globals'
import { gitRefFault } from '../src/git-ref.ts'

const CORPUS =
  'main feature/a v1.0 a.b a-b a@b @x a@ #1 ü 😀 a%b a{b a} a=b a&b a,b a;b $(x) a"b a\'b a!b a+b HEAD refs/heads/x 0 .a a/.b a. a/ /a a//b a..b a.lock a.lock/b a/b.lock a~ a^ a: a? a* a[ a] a\\b a@{b @ a/@/b @/b x.loc lock'.split(
    ' ',
  )

// The judge is git itself; of the names that it takes here, only those with a leading dash are refused by us.
test.each([...CORPUS, 'a b', 'a\tb', 'a\x7fb', ''])('%j is judged as git check-ref-format does', (ref) => {
  let isGood = true
  try {
    execFileSync('git', ['check-ref-format', `refs/heads/${ref}`])
  } catch {
    isGood = false
  }
  if (ref === '@') isGood = false
  expect(gitRefFault(ref) === undefined).toBe(isGood)
})

test('a leading dash and a lone surrogate are no names', () => {
  expect(gitRefFault('-o')).toBeDefined()
  expect(gitRefFault('a\ud800')).toBeDefined()
})
