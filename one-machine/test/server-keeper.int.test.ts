import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { openDataDir, type Paths } from '../src/up/data-dir.ts'
import { rotate } from '../src/up/log-rotation.ts'
import { createPrinter } from '../src/up/printer.ts'
import { keepServer, type ServerKeeper } from '../src/up/server-keeper.ts'
import { eventually, processesOf, removeFolder, temporaryFolder } from './support.ts'

const SUPERVISOR = path.join(import.meta.dirname, 'programs/supervisor.mjs')
let root: string
let paths: Paths
let printed: string
beforeEach(async () => {
  root = await temporaryFolder()
  paths = await openDataDir(path.join(root, 'data'))
  printed = ''
})
afterEach(async () => {
  expect(await processesOf(root)).toEqual([])
  await removeFolder(root)
})

function keep(hungAfterMs = 3_000): Promise<ServerKeeper> {
  return keepServer({
    program: path.join(import.meta.dirname, 'programs/small-server.mjs'),
    start: { env: {}, dataDir: paths.root, runDir: paths.run, internalSocket: paths.internalSocket },
    paths,
    printer: createPrinter({ write: (text: string) => (printed += text) }),
    environment: { PATH: process.env['PATH'] },
    hungAfterMs,
  })
}

const serverOf = async (): Promise<number> =>
  eventually(
    async () => (await processesOf(paths.root)).find(({ command }) => command.includes('small-server.mjs'))?.pid,
  )

test.each([
  ['whose event loop is blocked', () => writeFile(path.join(paths.root, 'hang'), '')],
  ['that was stopped by a signal', async () => void process.kill(await serverOf(), 'SIGSTOP')],
])('a server %s is ended and started again', async (_, hang) => {
  const keeper = await keep()
  const first = await serverOf()
  await hang()
  await eventually(async () => (printed.includes('The server is back.') ? true : undefined))
  expect(printed).toContain('The server died (it did not answer for 3 s). Restarting it; sessions keep running.\n')
  const second = await serverOf()
  expect(second).not.toBe(first)
  await sleep(4_000)
  expect(await serverOf()).toBe(second)
  await keeper.stop(5_000)
})

test('a server that hangs for less than the limit is left alone', async () => {
  const keeper = await keep()
  const first = await serverOf()
  process.kill(first, 'SIGSTOP')
  await sleep(1_500)
  process.kill(first, 'SIGCONT')
  await sleep(3_000)
  expect([await serverOf(), printed]).toEqual([first, ''])
  await keeper.stop(5_000)
})

test('a server that hangs when it is told to stop is killed after 3 s, and another ends what it left', async () => {
  const keeper = await keep(60_000)
  const [first, began] = [await serverOf(), Date.now()]
  process.kill(first, 'SIGSTOP')
  await keeper.stop(60_000)
  expect(Date.now() - began).toBeLessThan(25_000)
  expect(readFileSync(paths.serverLog, 'utf8')).toBe('ending\n')
  expect(await processesOf(paths.root)).toEqual([])
})

test('when no other can be started either, stopping ends all the same', async () => {
  const node = path.join(root, 'node')
  await symlink(process.execPath, node)
  const { child, said } = supervise(node)
  await eventually(async () => (said().includes('ready') ? true : undefined))
  await rm(node)
  process.kill(await serverOf(), 'SIGSTOP')
  child.stdin!.end()
  expect(await once(child, 'close')).toEqual([0, null])
})

/** A supervisor as a process of its own, whose Node is at `node`: it gives what it prints, and ends with its input. */
function supervise(node: string): { child: ChildProcess; said: () => string } {
  const child = spawn(process.execPath, [SUPERVISOR, paths.root, node], { stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  return { child, said: () => said }
}

test('reports in one sentence that the system cannot start the server', async () => {
  const { child, said } = supervise(path.join(root, 'node'))
  expect(await once(child, 'close')).toEqual([1, null])
  expect(said()).toBe(`spawn ${path.join(root, 'node')} ENOENT\n`)
})

test('starts the server again after a time in which the system could not', async () => {
  const node = path.join(root, 'node')
  await symlink(process.execPath, node)
  const { child, said } = supervise(node)
  const says = (words: string): Promise<true> =>
    eventually(async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the supervisor ended: ${said()}`)
      return said().includes(words) ? true : undefined
    })
  await says('ready')
  await rm(node)
  process.kill(await serverOf(), 'SIGKILL')
  await says(`The server cannot be started right now: spawn ${node} ENOENT\n`)
  await symlink(process.execPath, node)
  await says('The server is back.\n')
  child.stdin!.end()
  expect(await once(child, 'close')).toEqual([0, null])
})

test('keeps a log small while it is written to, and drops only its oldest lines', () => {
  const log = path.join(root, 'log')
  const writer = openSync(log, 'a')
  const size = (file: string): number => statSync(file).size
  for (let i = 0; i < 300; i++) {
    writeSync(writer, `${i}`.padStart(99).concat('\n'))
    rotate(log, 10_000)
  }
  closeSync(writer)
  expect(size(log)).toBeLessThanOrEqual(10_100)
  expect(size(`${log}.1`)).toBeLessThanOrEqual(10_100)
  const lines = (readFileSync(`${log}.1`, 'utf8') + readFileSync(log, 'utf8')).trimEnd().split('\n').map(Number)
  expect(lines).toEqual(Array.from(lines, (_, i) => 300 - lines.length + i))
  expect(lines.length).toBeGreaterThan(100)
})

test('leaves a link or folder in place of a log untouched', async () => {
  const log = path.join(root, 'log')
  const mine = path.join(root, 'mine')
  appendFileSync(mine, 'x'.repeat(100))
  await symlink(mine, log)
  rotate(log, 10)
  await mkdir(path.join(root, 'folder/a'), { recursive: true })
  rotate(path.join(root, 'folder'), 0)
  rotate(path.join(root, 'none'), 0)
  expect(readFileSync(mine, 'utf8')).toHaveLength(100)
})
