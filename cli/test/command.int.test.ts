import { spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'

const ROOT = path.resolve(import.meta.dirname, '../..')
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'cs-cli-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

interface Manifest {
  readonly version: string
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
  readonly peerDependenciesMeta?: Record<string, { readonly optional?: boolean }>
}

function manifestOf(name: string): Manifest {
  const file = path.join(ROOT, 'node_modules', name, 'package.json')
  return JSON.parse(readFileSync(file, 'utf8')) as Manifest
}

/** Everything that `npm install` of a package brings along. */
function closureOf(name: string, found = new Set<string>()): Set<string> {
  const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = manifestOf(name)
  const peers = Object.keys(peerDependencies ?? {}).filter((peer) => peerDependenciesMeta?.[peer]?.optional !== true)
  for (const next of [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers]) {
    // A build for another platform is not here, and brings nothing along.
    if (found.has(next)) continue
    found.add(next)
    if (optionalDependencies?.[next] === undefined) closureOf(next, found)
  }
  return found
}

const SERVER = ['controller', 'ws-gateway', 'runner', 'local-postgres', 'one-machine', 'service-kit']
const SERVER_PACKAGES = [...SERVER.map((part) => `@cliscale/${part}`), 'express', 'pg', 'prom-client']

test('installing the command installs no part of a server', () => {
  const inCommand = closureOf('@cliscale/cli')
  expect(inCommand).toContain('commander')
  expect(SERVER_PACKAGES.filter((name) => inCommand.has(name))).toEqual([])
  // The same look finds all of them where they are.
  const inServer = closureOf('@cliscale/one-machine')
  expect(SERVER_PACKAGES.filter((name) => inServer.has(name))).toEqual(
    SERVER_PACKAGES.filter((name) => name !== '@cliscale/one-machine'),
  )
})

test('the command takes the one-machine package of its own version', () => {
  const { peerDependencies } = manifestOf('@cliscale/cli')
  expect(peerDependencies).toEqual({ '@cliscale/one-machine': manifestOf('@cliscale/one-machine').version })
})

/** Runs the command as it is installed by itself: its files and its dependencies, nothing beside them. */
function runAlone(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [path.join(folder, 'dist/main.js'), ...args], { encoding: 'utf8' })
}

async function installAlone(): Promise<void> {
  await cp(path.join(ROOT, 'cli/dist'), path.join(folder, 'dist'), { recursive: true })
  await cp(path.join(ROOT, 'cli/package.json'), path.join(folder, 'package.json'))
  await mkdir(path.join(folder, 'node_modules'))
  for (const name of Object.keys(manifestOf('@cliscale/cli').dependencies ?? {}))
    await symlink(path.join(ROOT, 'node_modules', name), path.join(folder, 'node_modules', name))
}

test('without the one-machine package, up is one sentence that says what to install, and everything else works', async () => {
  await installAlone()
  expect(runAlone('up')).toMatchObject({
    status: 1,
    stdout: '',
    stderr:
      '`cliscale up` needs the package @cliscale/one-machine, which is not installed. Install it where cliscale is: npm install @cliscale/one-machine (with --global if cliscale was)\n',
  })
  expect(runAlone('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('up') })
  expect(runAlone('down')).toMatchObject({ status: 2, stderr: expect.stringContaining("unknown command 'down'") })
})

test('a one-machine package that is there but broken is not called missing', async () => {
  await installAlone()
  const broken = path.join(folder, 'node_modules/@cliscale/one-machine')
  await mkdir(broken, { recursive: true })
  await writeFile(path.join(broken, 'package.json'), '{"type":"module","exports":"./index.js"}')
  await writeFile(path.join(broken, 'index.js'), "import 'a-package-that-is-not-there'")
  const { status, stderr } = runAlone('up')
  expect(status).toBe(1)
  expect(stderr).toContain("Cannot find package 'a-package-that-is-not-there'")
  expect(stderr).not.toContain('which is not installed')
})
