import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
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

const MODULE = new URL('prepare.mjs', import.meta.url).href

test('a script whose promise can no longer be kept says so, and has failed', () => {
  const code = `import { runScript } from '${MODULE}'; runScript(() => new Promise(() => {}))`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
  expect([status, stderr]).toEqual([1, expect.stringContaining('Ended before it was finished: ')])
})

test('a script that ends well, or by its own exit, says nothing more', () => {
  for (const main of ['async () => {}', 'async () => process.exit(0)']) {
    const code = `import { runScript } from '${MODULE}'; runScript(${main})`
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
    expect([status, stderr]).toEqual([0, ''])
  }
})

test.each(['SIGHUP', 'SIGTERM', 'SIGINT'])(
  '%s in the middle of a step is named, and ends the step too',
  async (signal) => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'cs-prepare-'))
    const file = path.join(folder, 'pid')
    const step = `require('fs').writeFileSync('${file}', String(process.pid)), setInterval(() => {}, 1000)`
    const code = `import { quietly, runScript, sayingWhatEndsIt } from '${MODULE}'
    runScript(() => sayingWhatEndsIt(() => quietly(process.execPath, ['-e', ${JSON.stringify(step)}])))`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (chunk) => (said += chunk))
    while (!existsSync(file) || readFileSync(file, 'utf8') === '') await sleep(20)
    const pid = Number(readFileSync(file, 'utf8'))
    child.kill(signal)
    expect(await once(child, 'close')).toEqual([null, signal])
    expect(said).toBe(`\nStopped by ${signal} before it was ready.\n`)
    while (isThere(pid)) await sleep(20)
    rmSync(folder, { recursive: true })
  },
)

function isThere(pid) {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
