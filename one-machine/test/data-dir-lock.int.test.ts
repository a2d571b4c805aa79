import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { markOf } from '@cliscale/service-kit/process-mark'
import { lockDataDir } from '../src/up/data-dir-lock.ts'
import { removeFolder, temporaryFolder } from './support.ts'

const PROGRAM = path.resolve(import.meta.dirname, 'programs/lock.mjs')
let root: string
let children: ChildProcess[]

beforeEach(async () => {
  root = await temporaryFolder()
  children = []
})

afterEach(async () => {
  await Promise.all(children.map(end))
  await removeFolder(root)
})

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Starts a process that takes the lock, and resolves to what it prints. */
async function contend(at = 0): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [PROGRAM, root, String(at)], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, said: chunk.toString().trim() }
}

test('refuses a folder in use, and names the process and the address that use it', async () => {
  const { child } = await contend()
  await expect(lockDataDir(root, 'http://here')).rejects.toThrow(
    new RegExp(`already runs on the data folder ${root}: process ${child.pid}, at http://process-${child.pid}`),
  )
})

test('takes over the lock of a process that was killed', async () => {
  const { child, said } = await contend()
  expect(said).toBe('held')
  await end(child)
  expect((await contend()).said).toBe('held')
  expect((await readdir(root)).filter((name) => name.startsWith('lock.'))).toEqual(['lock.2'])
})

test('ignores a lock whose pid now belongs to another process', async () => {
  await writeFile(path.join(root, 'lock.7'), JSON.stringify({ pid: process.ppid, start: 'earlier', address: 'x' }))
  await lockDataDir(root, 'http://here')
  expect(await readdir(root)).toEqual(['lock.8'])
})

test.each([
  ['both match', ':'],
  ['both match, as an earlier version wrote them', '/'],
])('respects a lock whose pid and start time %s', async (_, separator) => {
  const { pid, start } = (await markOf(process.ppid))!
  const mark = { pid, start: start.replace(':', separator) }
  await writeFile(path.join(root, 'lock.1'), JSON.stringify({ ...mark, address: 'http://there' }))
  await expect(lockDataDir(root, 'http://here')).rejects.toThrow(/at http:\/\/there/)
})

test.each(['', '{', '[]', '{"pid":"1","start":1}'])('ignores a lock file that contains %j', async (text) => {
  await writeFile(path.join(root, 'lock.3'), text)
  await lockDataDir(root, 'http://here')
  expect(await readdir(root)).toEqual(['lock.4'])
})

test('lets exactly one of eight processes take a stale lock that all find at the same moment, every time', async () => {
  for (let round = 0; round < 3; round++) {
    const at = Date.now() + 1_500
    const all = await Promise.all(Array.from({ length: 8 }, () => contend(at)))
    expect(all.filter(({ said }) => said === 'held')).toHaveLength(1)
    expect(all.filter(({ said }) => said.includes('already runs'))).toHaveLength(7)
    await Promise.all(all.map(({ child }) => end(child)))
  }
})
