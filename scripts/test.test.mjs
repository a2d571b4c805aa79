/** `npm test` itself, on test files that are made here. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'

/** Fails the first time that it runs. */
const FAILS_ONCE = `const { existsSync, writeFileSync } = require('node:fs')
test('runs', () => {
  const ran = existsSync(__filename + '.ran')
  writeFileSync(__filename + '.ran', '')
  expect(ran).toBe(true)
})
`
let dir
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'cliscale-npm-test-'))
  writeFileSync(
    path.join(dir, 'jest.config.json'),
    JSON.stringify({ rootDir: dir, testMatch: ['**/*.test.cjs'], transform: {} }),
  )
  for (const name of ['a', 'b']) writeFileSync(path.join(dir, `${name}.test.cjs`), FAILS_ONCE)
})
afterEach(() => rmSync(dir, { recursive: true }))

const npmTest = (...args) =>
  spawnSync(
    process.execPath,
    [path.join(import.meta.dirname, 'test.mjs'), '--config', path.join(dir, 'jest.config.json'), ...args],
    { encoding: 'utf8', env: { ...process.env, CI: '1' } },
  ).stdout

test('in CI, a file that fails in one part of the files is run again by itself', () => {
  const output = npmTest('--shard=2/2', '--maxWorkers=2')
  expect(output.match(/^Run again: .*$/gm)).toHaveLength(1)
  expect(output).toMatch(/\n1 passed, 0 failed\n$/)
}, 60_000)
