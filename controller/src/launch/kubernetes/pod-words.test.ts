import { expect, test } from '@jest/globals'
import { clean } from './pod-words.ts'

test.each([
  ['', 'It waits.'],
  [' two\nlines\u0007 ', 'It waits. two lines'],
  [
    'Get "https://user:pass@registry.example.com/v2/a?token=secret&b=1": EOF',
    'It waits. Get "https://registry.example.com/v2/a": EOF',
  ],
  ['https://token@host/x?X-Goog-Signature=abc timeout', 'It waits. https://host/x timeout'],
  ['read udp 10.0.0.7:43210->10.0.0.10:53: i/o timeout', 'It waits. read udp 10.0.0.10:53: i/o timeout'],
])('the cluster’s message %j is cleaned', (words, told) => expect(clean('It waits.', words)).toBe(told))

test('a long message is cut', () => {
  const told = clean('It waits.', 'x'.repeat(5000))
  expect(told).toHaveLength('It waits. '.length + 400)
  expect(told.endsWith('…')).toBe(true)
})
