import { randomUUID } from 'node:crypto'
import { mkdir, readFile, stat, utimes } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from '@jest/globals'
import { findSessionGroups } from '../src/launch/local/session-group.ts'
import { expectEventually } from './launch-contract.ts'
import { createLocalSystem, type LocalSystem, processes } from './launch-local-system.ts'

const workProgram = fileURLToPath(new URL('launch-programs/escaping-work.mjs', import.meta.url))
const groups = await findSessionGroups(undefined)

let system: LocalSystem | undefined
afterEach(() => system?.dispose())

async function pidOf(id: string, name: string): Promise<number> {
  const file = path.join(system!.folder(id).home, name)
  // An empty file, or a missing one, holds no number yet.
  return expectEventually(async () => Number(await readFile(file, 'utf8').catch(() => '')) || undefined)
}

async function launchTwo(): Promise<{ removed: string; other: string }> {
  system = await createLocalSystem({ workProgram })
  const [removed, other] = [randomUUID(), randomUUID()]
  await system.launcher.launch({ sessionId: removed, timeoutSeconds: 60 })
  await system.launcher.launch({ sessionId: other, timeoutSeconds: 60 })
  return { removed, other }
}

if (process.platform !== 'linux') console.log('tags are not tested: only Linux has them')
else {
  test('a process that left environment, session, terminal and parents ends with its own session only', async () => {
    const { removed, other } = await launchTwo()
    const [gone, stays] = await Promise.all([pidOf(removed, 'tagged'), pidOf(other, 'tagged')])
    await system!.launcher.remove(removed)
    expect(await processes.find(gone)).toBeUndefined()
    expect(await processes.find(stays)).toBeDefined()
    await system!.launcher.remove(other)
    expect(await processes.find(stays)).toBeUndefined()
  })
}

if (groups === undefined) console.log('control groups are not tested: this system does not let us make them')
else {
  test('a process that also dropped the tag ends with its control group, which is removed', async () => {
    const { removed, other } = await launchTwo()
    const [gone, stays] = await Promise.all([pidOf(removed, 'bare'), pidOf(other, 'bare')])
    const group = groups.groupOf(removed)
    expect(await groups.members(group)).toContain(gone)
    await system!.launcher.remove(removed)
    expect(await processes.find(gone)).toBeUndefined()
    expect(await processes.find(stays)).toBeDefined()
    await expect(stat(group)).rejects.toThrow('ENOENT')
    await system!.launcher.remove(other)
    expect(await processes.find(stays)).toBeUndefined()
  })

  test('groups that were left empty an hour ago go with the next start; others stay', async () => {
    const [left, young] = [await groups.create(randomUUID()), await groups.create(randomUUID())]
    try {
      await mkdir(path.join(left, 'nested'))
      const { removed: running } = await launchTwo()
      const hoursAgo = new Date(Date.now() - 2 * 60 * 60 * 1000)
      for (const group of [left, groups.groupOf(running)]) await utimes(group, hoursAgo, hoursAgo)
      await system!.launcher.close()
      await system!.restart()
      await expect(stat(left)).rejects.toThrow('ENOENT')
      await stat(young)
      await stat(groups.groupOf(running))
    } finally {
      await groups.remove(left)
      await groups.remove(young)
    }
  })

  test('groups that a program made inside its own are removed with the session, deepest first', async () => {
    const { removed } = await launchTwo()
    const nested = await pidOf(removed, 'bare')
    const group = groups.groupOf(removed)
    const deepest = path.join(group, 'a/b', ...Array.from({ length: 30 }, (_, i) => `${i}`))
    await mkdir(deepest, { recursive: true })
    await Promise.all(['a/c', 'a/b/d/e', 'f/g'].map((name) => mkdir(path.join(group, name), { recursive: true })))
    await groups.add(deepest, nested)
    expect(await groups.members(group)).toContain(nested)
    await system!.launcher.remove(removed)
    expect(await processes.find(nested)).toBeUndefined()
    await expect(stat(group)).rejects.toThrow('ENOENT')
    await groups.remove(group)
  })
}
