import { expect, test } from '@jest/globals'
import { editDistance } from './edit-distance.ts'

test.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['main', 'main', 0],
  ['main', 'maine', 1],
  ['main', 'man', 1],
  ['main', 'mein', 1],
  ['main', 'mian', 1],
  // Swapped neighbours are not edited again.
  ['ca', 'abc', 3],
  ['kitten', 'sitting', 3],
])('from "%s" to "%s" it is %i, both ways', (a, b, distance) => {
  expect([editDistance(a, b), editDistance(b, a)]).toEqual([distance, distance])
})

test('what is over the limit is one more than it', () => {
  expect(editDistance('kitten', 'sitting', 3)).toBe(3)
  expect(editDistance('kitten', 'sitting', 2)).toBe(3)
  expect(editDistance('abcdefgh', 'zyxwvuts', 2)).toBe(3)
  expect(editDistance('a', 'a long name', 2)).toBe(3)
  expect(editDistance('abcd', 'badc', 2)).toBe(2)
})
