import { expect, test } from '@jest/globals'
import { createHostCheck } from './host-check.ts'

test.each(['127.0.0.1:7080', 'localhost:7080', 'LocalHost:9000', '[::1]:7080', 'localhost', '127.0.0.1:9000', '[::1]'])(
  'accepts the Host %s',
  (host) => {
    expect(createHostCheck({ publicUrl: undefined })(host)).toBe(true)
  },
)

test.each([
  undefined,
  '',
  'localhost:',
  'localhost:x',
  'localhost:123456',
  'user@localhost:7080',
  'localhost.:7080',
  '127.0.0.2:7080',
  'evil.example:7080',
  'localhost.evil.example:7080',
  'localhost:7080:7080',
  '127.0.0.1:7080, evil.example',
  '[::ffff:127.0.0.1]:7080',
  '0.0.0.0:7080',
])('refuses the Host %s', (host) => {
  expect(createHostCheck({ publicUrl: undefined })(host)).toBe(false)
})

test('accepts the public address with and without its usual port, and refuses hosts that resemble it', () => {
  const isOwn = createHostCheck({ publicUrl: 'https://cli.example' })
  expect(['cli.example', 'cli.example:443', 'CLI.example'].map(isOwn)).toEqual([true, true, true])
  expect(['cli.example:80', 'cli.example:7080', 'x.cli.example'].map(isOwn)).toEqual([false, false, false])
  expect(createHostCheck({ publicUrl: 'http://cli.example:8080' })('cli.example:8080')).toBe(true)
})
