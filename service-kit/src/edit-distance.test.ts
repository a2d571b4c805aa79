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
  // Swapped neighbours are not edited a second time.
  ['ca', 'abc', 3],
  ['kitten', 'sitting', 3],
])('the distance between "%s" and "%s" is %i in both directions', (a, b, distance) => {
  expect([editDistance(a, b), editDistance(b, a)]).toEqual([distance, distance])
})

test('a distance over the limit is reported as the limit plus one', () => {
  expect(editDistance('kitten', 'sitting', 3)).toBe(3)
  expect(editDistance('kitten', 'sitting', 2)).toBe(3)
  expect(editDistance('abcdefgh', 'zyxwvuts', 2)).toBe(3)
  expect(editDistance('a', 'a long name', 2)).toBe(3)
  expect(editDistance('abcd', 'badc', 2)).toBe(2)
})
