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

test('packages as the lock file has them fit, without those of other platforms', () => {
  expect(lockMismatch(LOCK, installed())).toBeUndefined()
})

test('a package that is missing, older or another build under the same version does not fit', () => {
  expect(lockMismatch(LOCK, installed({ 'node_modules/pg': undefined }))).toBe('pg is missing')
  expect(lockMismatch(LOCK, installed({ 'node_modules/pg': { version: '8.0.0', integrity: 'sha512-a' } }))).toBe(
    'pg has another version',
  )
  expect(
    lockMismatch(LOCK, installed({ 'node_modules/pg/node_modules/x': { version: '1.0.0', integrity: 'sha512-z' } })),
  ).toBe('x has another version')
})

test('a Node that is too old is refused with a sentence, before anything is installed', () => {
  expect(() => requireNode('18.20.0')).toThrow(/^CLI Scale needs Node 20\.19\.0 or newer; this is Node 18\.20\.0\./)
  expect(() => requireNode('20.19.0')).not.toThrow()
  expect(() => requireNode('24.0.0')).not.toThrow()
  expect(compareVersions('20.19.0', '20.9.9')).toBeGreaterThan(0)
})

test('a clone that cannot be written to is refused with a sentence', async () => {
  // A file in the place of the folder: root may write to every folder.
  const folder = fileURLToPath(import.meta.url)
  await expect(oneAtATime(() => {}, folder)).rejects.toThrow(
    /^This clone cannot be written to \(EEXIST.*\)\. Start it as/,
  )
})
