import { expect, test } from '@jest/globals'
import { createHostCheck } from './host-check.ts'

test.each(['127.0.0.1:7080', 'localhost:7080', 'LocalHost:7080', '[::1]:7080'])('%s is ours', (host) => {
  expect(createHostCheck({ port: 7080, publicUrl: undefined })(host)).toBe(true)
})

test.each([
  undefined,
  '',
  'localhost',
  'localhost:7081',
  '127.0.0.1',
  '127.0.0.2:7080',
  'evil.example:7080',
  'localhost.evil.example:7080',
  'localhost:7080:7080',
  '127.0.0.1:7080, evil.example',
  '[::ffff:127.0.0.1]:7080',
  '0.0.0.0:7080',
])('%s is not ours', (host) => {
  expect(createHostCheck({ port: 7080, publicUrl: undefined })(host)).toBe(false)
})

test('the public address is ours too, with and without its usual port, and nothing near it', () => {
  const isOwn = createHostCheck({ port: 7080, publicUrl: 'https://cli.example' })
  expect(['cli.example', 'cli.example:443', 'CLI.example'].map(isOwn)).toEqual([true, true, true])
  expect(['cli.example:80', 'cli.example:7080', 'x.cli.example'].map(isOwn)).toEqual([false, false, false])
  expect(createHostCheck({ port: 7080, publicUrl: 'http://cli.example:8080' })('cli.example:8080')).toBe(true)
})

test('on port 80 browsers leave the port out', () => {
  expect(createHostCheck({ port: 80, publicUrl: undefined })('localhost')).toBe(true)
})
