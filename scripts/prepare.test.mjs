import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { compareVersions, lockMismatch, oneAtATime, requireNode } from './prepare.mjs'

const LOCK = {
  packages: {
    '': { name: 'root' },
    cli: { name: '@cliscale/cli' },
    'node_modules/@cliscale/cli': { resolved: 'cli', link: true },
    'node_modules/pg': { version: '8.23.1', integrity: 'sha512-a' },
    'node_modules/pg/node_modules/x': { version: '1.0.0', integrity: 'sha512-b' },
    'node_modules/only-for-macos': { version: '1.0.0', integrity: 'sha512-c', optional: true },
  },
}

function installed(changes = {}) {
  const { 'node_modules/only-for-macos': _, ...packages } = LOCK.packages
  return { packages: { ...packages, ...changes } }
}

test('accepts packages that match the lock file, without those of other platforms', () => {
  expect(lockMismatch(LOCK, installed())).toBeUndefined()
})

test('does not accept a package that is missing, older, or another build of the same version', () => {
  expect(lockMismatch(LOCK, installed({ 'node_modules/pg': undefined }))).toBe('pg is missing')
  expect(lockMismatch(LOCK, installed({ 'node_modules/pg': { version: '8.0.0', integrity: 'sha512-a' } }))).toBe(
    'pg has another version',
  )
  expect(
    lockMismatch(LOCK, installed({ 'node_modules/pg/node_modules/x': { version: '1.0.0', integrity: 'sha512-z' } })),
  ).toBe('x has another version')
})

test('refuses a Node that is too old, in one sentence and before it installs anything', () => {
  expect(() => requireNode('18.20.0')).toThrow(/^CLI Scale needs Node 20\.19\.0 or newer; this is Node 18\.20\.0\./)
  expect(() => requireNode('20.19.0')).not.toThrow()
  expect(() => requireNode('24.0.0')).not.toThrow()
  expect(compareVersions('20.19.0', '20.9.9')).toBeGreaterThan(0)
})

test('refuses a clone that cannot be written to, in one sentence', async () => {
  // A file in place of the folder, because root may write to every folder.
  const folder = fileURLToPath(import.meta.url)
  await expect(oneAtATime(() => {}, folder)).rejects.toThrow(
    /^This clone cannot be written to \(EEXIST.*\)\. Start it as/,
  )
})
