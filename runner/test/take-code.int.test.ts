import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createLogger } from '@cliscale/service-kit'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { dropCode } from '../src/host/drop-code.ts'
import { takeCode } from '../src/worker/take-code.ts'
import { createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(path.join(os.tmpdir(), 'cs-take-'))
  mkdirSync(path.join(dir, 'from'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const never = new AbortController().signal
const at = (...parts: string[]): string => path.join(dir, ...parts)

describe('code that another user prepared', () => {
  test('is copied with its links as they are and its permission bits, but without set-user-id', async () => {
    mkdirSync(at('from/a/b'), { recursive: true })
    writeFileSync(at('from/a/b/run'), '#!/bin/sh\n', { mode: 0o755 })
    writeFileSync(at('from/a/secret'), 's', { mode: 0o600 })
    writeFileSync(at('from/root'), 'x')
    chmodSync(at('from/root'), 0o6755)
    symlinkSync('/etc/passwd', at('from/out'))
    symlinkSync('nowhere', at('from/a/dangling'))
    chmodSync(at('from/a/b'), 0o555)
    utimesSync(at('from/a/secret'), 1_000_000_000.5, 1_000_000_000.5)
    utimesSync(at('from/a'), 1_000_000_001, 1_000_000_001)
    await takeCode(at('from'), at('to'), never)
    chmodSync(at('from/a/b'), 0o755)
    expect(lstatSync(at('to/a/secret')).mtimeMs).toBe(1_000_000_000_500)
    expect(lstatSync(at('to/a')).mtimeMs).toBe(1_000_000_001_000)
    const mode = (name: string): number => lstatSync(at('to', name)).mode & 0o7777
    expect([mode('a/b/run'), mode('a/secret'), mode('root'), mode('a/b')]).toEqual([0o755, 0o600, 0o755, 0o555])
    chmodSync(at('to/a/b'), 0o755)
    expect(readlinkSync(at('to/out'))).toBe('/etc/passwd')
    expect(readlinkSync(at('to/a/dangling'))).toBe('nowhere')
    expect(readdirSync(at('to')).sort()).toEqual(['a', 'out', 'root'])
  })

  test('may be empty: the workspace exists and is empty', async () => {
    expect(await takeCode(at('nowhere'), at('to'), never)).toBe(false)
    expect(readdirSync(at('to'))).toEqual([])
  })

  test('is copied without its pipes, which nothing waits for', async () => {
    execFileSync('mkfifo', [at('from/pipe')])
    writeFileSync(at('from/file'), 'x')
    expect(await takeCode(at('from'), at('to'), never)).toBe(true)
    expect(readdirSync(at('to'))).toEqual(['file'])
  })

  test('meets an error when a file is in the way, and writes through no link', async () => {
    mkdirSync(at('to'))
    writeFileSync(at('victim'), 'old')
    symlinkSync(at('victim'), at('to/file'))
    writeFileSync(at('from/file'), 'new')
    await expect(takeCode(at('from'), at('to'), never)).rejects.toMatchObject({ code: 'EEXIST' })
    expect(readFileSync(at('victim'), 'utf8')).toBe('old')
  })

  test('of 5,000 files blocks neither the event loop nor memory, and stops when told', async () => {
    for (let folder = 0; folder < 5; folder++) {
      mkdirSync(at('from', `${folder}`))
      for (let file = 0; file < 1000; file++) writeFileSync(at('from', `${folder}`, `${file}`), `${file}`)
    }
    let longestMs = 0
    let last = performance.now()
    const ticks = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - last)
      last = performance.now()
    }, 5)
    const before = process.memoryUsage().rss
    await takeCode(at('from'), at('to'), never)
    clearInterval(ticks)
    expect(longestMs).toBeLessThan(500)
    expect(process.memoryUsage().rss - before).toBeLessThan(150e6)
    expect(readdirSync(at('to/4'))).toHaveLength(1000)
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('told')), 50)
    await expect(takeCode(at('from'), at('to2'), stop.signal)).rejects.toThrow('told')
    expect(existsSync(at('to2/4'))).toBe(false)
  })
})

test('is emptied without touching anything else when a folder is exchanged for a link', async () => {
  for (const folder of ['from/a', 'victim/a']) {
    mkdirSync(at(folder), { recursive: true })
    for (let file = 0; file < 3000; file++) writeFileSync(at(folder, `${file}`), '')
  }
  const dropped = dropCode(at('from'), createLogger({ service: 'host' }))
  while (existsSync(at('from/a/0'))) await nextTurn()
  renameSync(at('from'), at('moved'))
  symlinkSync(at('victim'), at('from'))
  await dropped
  expect(readdirSync(at('victim/a'))).toHaveLength(3000)
  expect(readdirSync(at('moved'))).toEqual([])
})

/** A disk of 1 MiB; none where this user may not mount. */
function smallDisk(): Disposable | undefined {
  mkdirSync(at('disk'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at('disk')], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  return { [Symbol.dispose]: () => void execFileSync('umount', [at('disk')]) }
}

test('is refused with the reason when the disk is full', async () => {
  using disk = smallDisk()
  if (disk === undefined) {
    console.log('Not checked: a disk of 1 MiB, which this user may not mount')
    expect(process.getuid?.()).not.toBe(0)
    return
  }
  writeFileSync(at('from/large'), Buffer.alloc(2e6))
  await expect(takeCode(at('from'), at('disk/to'), never)).rejects.toMatchObject({
    code: 'ENOSPC',
    message: "There is no room left for the code on the session's disk.",
  })
})

describe('host and work with a folder each', () => {
  test('give the command the code in its own folder, and the host empties the other', async () => {
    await using controller = await createControllerDouble({
      command: 'cat file; pwd',
      installCmd: 'echo in; sleep 0.5',
    })
    await using session = new HostUnderTest(controller).withCode('content\n')
    const staged = path.join(session.dir, 'staged')
    session.startWork({ CLISCALE_CODE_DIR: staged })
    session.startHost({ CLISCALE_WORKSPACE_DIR: staged })
    expect(await controller.ended()).toMatchObject({ status: 'succeeded' })
    expect(controller.output.toString()).toContain(`content\r\n${session.workspaceDir}\r\n`)
    expect(await session.hostExit()).toBe(0)
    expect(existsSync(staged)).toBe(false)
    expect(existsSync(path.join(session.dir, 'code/file'))).toBe(true)
  })

  test('recover from a kill of the host between the copy and its report: the next host empties the folder', async () => {
    await using controller = await createControllerDouble({ command: 'cat file' })
    await using session = new HostUnderTest(controller).withCode('content\n')
    const staged = path.join(session.dir, 'staged')
    let killed = false
    controller.onCall = async (call) => {
      if (killed || call !== 'started') return
      killed = true
      await session.killHost()
      session.startHost({ CLISCALE_WORKSPACE_DIR: staged })
      throw new Error('the caller is dead')
    }
    session.startWork({ CLISCALE_CODE_DIR: staged })
    session.startHost({ CLISCALE_WORKSPACE_DIR: staged })
    expect(await controller.ended()).toMatchObject({ status: 'succeeded' })
    expect(controller.output.toString()).toContain('content')
    expect(await session.hostExit()).toBe(0)
    expect(existsSync(staged)).toBe(false)
  })

  test('leave the workspace alone without a second folder', async () => {
    await using controller = await createControllerDouble({ command: 'cat file' })
    await using session = new HostUnderTest(controller).withCode('content\n').start()
    expect(await controller.ended()).toMatchObject({ status: 'succeeded' })
    expect(await session.hostExit()).toBe(0)
    expect(readdirSync(session.workspaceDir)).toEqual(['file'])
  })
})

test('extra certificates of work reach the command, and nothing else of its environment does', async () => {
  await using controller = await createControllerDouble({ command: 'env | sort | grep -E "CA_CERTS|CANARY|CODE_DIR"' })
  await using session = new HostUnderTest(controller)
  const ca = path.join(session.dir, 'ca.crt')
  writeFileSync(ca, '')
  session.startWork({ NODE_EXTRA_CA_CERTS: ca, CANARY: 'x', CLISCALE_CODE_DIR: path.join(session.dir, 'none') })
  session.startHost()
  await controller.ended()
  expect(controller.output.toString()).toBe(`NODE_EXTRA_CA_CERTS=${ca}\r\n`)
})
