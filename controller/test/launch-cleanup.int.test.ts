import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createLogger } from '@cliscale/service-kit'
import { expectEventually, request } from './launch-contract.ts'
import { createLocalSystem, type LocalSystem, processes } from './launch-local-system.ts'

const canBeImmutable = process.getuid?.() === 0 && process.platform === 'linux'
let logged: { message: string; why: string; advice: string }[]
let system: LocalSystem
let elsewhere: string

beforeEach(async () => {
  logged = []
  const destination = { write: (line: string) => void logged.push(JSON.parse(line) as (typeof logged)[number]) }
  const logger = createLogger({ service: 'test', level: 'error', destination })
  system = await createLocalSystem({ logger, removeRetriesMs: [10, 20] })
  elsewhere = await mkdtemp(path.join(os.tmpdir(), 'cliscale-elsewhere-'))
  await writeFile(path.join(elsewhere, 'file'), 'mine')
  await chmod(elsewhere, 0o500)
})

afterEach(async () => {
  await system.dispose()
  expect((await stat(elsewhere)).mode & 0o777).toBe(0o500)
  expect(await readFile(path.join(elsewhere, 'file'), 'utf8')).toBe('mine')
  await chmod(elsewhere, 0o700)
  await rm(elsewhere, { recursive: true })
})

async function launched(): Promise<string> {
  const id = randomUUID()
  await system.launcher.launch(request(id))
  await expectEventually(async () => (await system.launcher.list()).find((entry) => entry.sessionId === id)?.address)
  return id
}

const isThere = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  )

test.each(['workspace', 'home', 'root', 'tmp', 'spool', 'state'] as const)(
  'removes a link that a session put in place of its %s, and nothing behind it',
  async (part) => {
    const id = await launched()
    const folder = system.folder(id)
    await rename(folder[part], `${folder[part]}.away`)
    await symlink(elsewhere, folder[part])
    await system.launcher.remove(id)
    expect(await isThere(folder.root)).toBe(false)
    expect(await isThere(folder.state)).toBe(false)
    expect(await isThere(folder.tmp)).toBe(false)
    expect(await system.launcher.list()).toEqual([])
  },
)

if (!canBeImmutable) console.log('files that cannot be removed are not tested: making them takes root on Linux')
else {
  test('leaves files that cannot be removed after some tries, with one log line, until the next start', async () => {
    const [id, well] = [await launched(), await launched()]
    const { root, state, workspace } = system.folder(id)
    await mkdir(path.join(workspace, 'd'))
    await symlink(elsewhere, path.join(workspace, 'd/link'))
    execFileSync('chattr', ['+i', path.join(workspace, 'd')])
    try {
      await system.launcher.remove(id)
      expect((await system.launcher.list()).map(({ sessionId }) => sessionId)).toEqual([well])
      expect(await system.running(id)).toEqual([])
      await expectEventually(async () => logged.length > 0)
      await system.launcher.remove(id)
      await system.launcher.remove(well)
      expect(await isThere(system.folder(well).root)).toBe(false)
      expect(await isThere(state)).toBe(false)
      expect(await readdir(root)).toEqual(['workspace'])
      expect(logged).toMatchObject([{ message: 'files of a session could not be removed' }])
      expect(logged[0]!.why).toContain(`${workspace}/d/link cannot be removed: it is immutable`)
      const { tmp } = system.folder(id)
      expect(logged[0]!.advice).toContain(`chattr -R -i '${root}' '${tmp}'; rm -rf '${root}' '${tmp}'`)
      await system.launcher.close()
    } finally {
      execFileSync('chattr', ['-i', path.join(workspace, 'd')])
    }
    await system.restart()
    expect(await isThere(root)).toBe(false)
    expect(logged).toHaveLength(1)
  })
}

test('kills no foreign process that a record names by pid and start time or by its group', async () => {
  const strangers: ChildProcess[] = [1, 2].map(() => spawn('sleep', ['60'], { stdio: 'ignore' }))
  try {
    const id = await launched()
    const record = await system.record(id)
    const [mark, grouped] = await Promise.all(strangers.map(({ pid }) => processes.find(pid!)))
    await system.launcher.close()
    const cgroup = path.join(await mkdtemp(path.join(os.tmpdir(), 'cliscale-group-')), 'cliscale-group')
    await mkdir(cgroup)
    await writeFile(path.join(cgroup, 'cgroup.procs'), `${grouped!.pid}\n`)
    const forged = { ...record, host: mark, work: mark, limited: true, cgroup }
    await writeFile(system.folder(id).record, JSON.stringify(forged))
    const launcher = await system.restart()
    await launcher.remove(id)
    expect(await processes.alive([mark!, grouped!])).toEqual(new Set([mark!.pid, grouped!.pid]))
    expect(await isThere(path.join(cgroup, 'cgroup.procs'))).toBe(true)
    expect(await system.running(id)).toEqual([])
    await rm(path.dirname(cgroup), { recursive: true })
  } finally {
    for (const stranger of strangers) stranger.kill('SIGKILL')
  }
})

test('ends only the session of a damaged or forged record at the next start', async () => {
  const [well, ...ids] = await Promise.all(Array.from({ length: 8 }, launched))
  const forgeries: ((record: object) => string)[] = [
    () => '',
    () => '{"version":1,"sess',
    (record) => JSON.stringify({ ...record, sessionId: randomUUID() }),
    (record) => JSON.stringify({ ...record, podUid: "'; drop table" }),
    (record) => JSON.stringify({ ...record, tokenHash: 'ff' }),
    (record) => JSON.stringify({ ...record, host: { pid: 1, start: '' } }),
    (record) => JSON.stringify({ ...record, work: { pid: '12', start: '' } }),
  ]
  await system.launcher.close()
  for (const [i, forge] of forgeries.entries())
    await writeFile(system.folder(ids[i]!).record, forge(await system.record(ids[i]!)))
  const launcher = await system.restart()
  expect((await launcher.list()).map(({ sessionId }) => sessionId)).toEqual([well])
  for (const id of ids) expect(await system.running(id)).toEqual([])
  expect(await readdir(path.dirname(system.folder(well!).root))).toEqual([well])
  expect(await launcher.identify(await system.tokenOf(well!))).toBeDefined()
})

test('reveals nothing of a launch in the folders around its session', async () => {
  const id = await launched()
  const { root, home } = system.folder(id)
  expect(path.dirname(home)).toBe(root)
  expect((await readdir(root)).sort()).toEqual(['home', 'workspace'])
})

describe('a host that hangs', () => {
  const hostOf = async (id: string): Promise<number | undefined> => (await hanging.record(id)).host?.pid
  let hanging: LocalSystem
  beforeEach(async () => {
    hanging = await createLocalSystem({ probe: { everyMs: 50, limitMs: 1_000 } })
  })
  afterEach(() => hanging.dispose())
  const launch = async (): Promise<string> => {
    const id = randomUUID()
    await hanging.launcher.launch(request(id))
    await expectEventually(() => hanging.hostGeneration(id))
    return id
  }

  test('is restarted, while its work and other sessions go on', async () => {
    const [id, well] = [await launch(), await launch()]
    const [before, other] = [await hanging.record(id), await hostOf(well)]
    process.kill(before.host!.pid, 'SIGSTOP')
    await expectEventually(async () => ![null, undefined, before.host!.pid].includes(await hostOf(id)))
    await expectEventually(() => hanging.hostGeneration(id))
    const after = await hanging.record(id)
    expect(after).toMatchObject({ podUid: before.podUid, work: before.work })
    await sleep(1_500)
    expect([await hostOf(id), await hostOf(well)]).toEqual([after.host!.pid, other])
  })

  test('for less than the limit is left running', async () => {
    const patient = await createLocalSystem({ probe: { everyMs: 100, limitMs: 6_000 } })
    try {
      const id = randomUUID()
      await patient.launcher.launch(request(id))
      await expectEventually(() => patient.hostGeneration(id))
      const { host } = await patient.record(id)
      for (let i = 0; i < 2; i++) {
        process.kill(host!.pid, 'SIGSTOP')
        await sleep(3_000)
        process.kill(host!.pid, 'SIGCONT')
        await sleep(1_000)
      }
      expect((await patient.record(id)).host).toEqual(host)
    } finally {
      await patient.dispose()
    }
  })

  test('in a stop is restarted after four seconds, also if it hangs later, and is left alone for less', async () => {
    const patient = await createLocalSystem()
    try {
      const id = randomUUID()
      await patient.launcher.launch(request(id))
      await expectEventually(() => patient.hostGeneration(id))
      const { host } = await patient.record(id)
      patient.launcher.expectEnd(id)
      await sleep(500)
      process.kill(host!.pid, 'SIGSTOP')
      await sleep(2_500)
      process.kill(host!.pid, 'SIGCONT')
      await sleep(1_500)
      expect((await patient.record(id)).host).toEqual(host)
      process.kill(host!.pid, 'SIGSTOP')
      await expectEventually(async () => ![null, undefined, host!.pid].includes((await patient.record(id)).host?.pid))
    } finally {
      await patient.dispose()
    }
  })

  test('is restarted even if an earlier launcher started it', async () => {
    const id = await launch()
    const first = await hostOf(id)
    await hanging.launcher.close()
    process.kill(first!, 'SIGSTOP')
    await hanging.restart()
    // Its first answer to this launcher may take as long as a start.
    expect(await hostOf(id)).toBe(first)
    process.kill(first!, 'SIGCONT')
    await sleep(300)
    process.kill(first!, 'SIGSTOP')
    await expectEventually(async () => ![null, undefined, first].includes(await hostOf(id)))
  })

  test('does not delay the removal of its session', async () => {
    const id = await launch()
    process.kill((await hostOf(id))!, 'SIGSTOP')
    const began = performance.now()
    await hanging.launcher.remove(id)
    expect(performance.now() - began).toBeLessThan(5_000)
    expect(await hanging.running(id)).toEqual([])
  })
})
