import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { createLocalLauncher } from '../src/launch/local/local-launcher.ts'
import { findSessionGroups } from '../src/launch/local/session-group.ts'
import { type ProcessTable, signalProcess } from '../src/launch/local/process-table.ts'
import { expectEventually, request } from './launch-contract.ts'
import { createLocalSystem, type LocalSystem, processes } from './launch-local-system.ts'

const programs = fileURLToPath(new URL('launch-programs/', import.meta.url))
let system: LocalSystem
beforeEach(async () => {
  system = await createLocalSystem()
})
afterEach(() => system.dispose())

const lines = async (file: string): Promise<string[]> =>
  (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
const isAlive = async (pid: number): Promise<boolean> => (await processes.find(pid)) !== undefined
async function launched(one = system): Promise<string> {
  const id = randomUUID()
  await one.launcher.launch(request(id))
  await expectEventually(async () => (await one.launcher.list()).find((entry) => entry.sessionId === id)?.address)
  return id
}

describe('what a session is given', () => {
  test('its processes see nothing of our environment', async () => {
    process.env['CLISCALE_API_KEY'] = 'canary'
    const id = await launched()
    delete process.env['CLISCALE_API_KEY']
    const { options } = system
    const read = async (file: string) => JSON.parse(await readFile(file, 'utf8')) as Record<string, string>
    const { state, spool, home, tmp, workspace, identity, endpoint, workSocket } = system.folder(id)
    const both = { PATH: options.environment.PATH, CLISCALE_SESSION_ID: id }
    const shared = { ...both, CLISCALE_WORK_SOCKET: workSocket, CLISCALE_WORKSPACE_DIR: workspace }
    expect(await read(path.join(home, 'environment.json'))).toEqual({
      ...shared,
      HOME: home,
      CLISCALE_HOME_DIR: home,
      CLISCALE_TMP_DIR: tmp,
    })
    expect(await read(path.join(spool, 'environment.json'))).toEqual({
      ...shared,
      HOME: state,
      CLISCALE_CONTROLLER_URL: options.controllerUrl,
      CLISCALE_IDENTITY_TOKEN_FILE: identity,
      CLISCALE_SPOOL_DIR: spool,
      CLISCALE_SPOOL_MAX_BYTES: String(1024 ** 3),
      CLISCALE_LISTEN: '127.0.0.1:0',
      CLISCALE_ENDPOINT_FILE: endpoint,
    })
  })

  test('its folders and its identity are private to the owner', async () => {
    const id = await launched()
    const { root, state, spool, workspace, home, identity, record } = system.folder(id)
    for (const dir of [root, state, spool, workspace, home, path.dirname(root), path.dirname(state)]) {
      expect((await stat(dir)).mode & 0o777).toBe(0o700)
    }
    for (const file of [identity, record]) expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(await readFile(record, 'utf8')).not.toContain(await readFile(identity, 'utf8'))
  })

  test('a malformed session id, and a folder too long for sockets, are refused', async () => {
    for (const id of ['', '..', '../x', 'A'.repeat(36), randomUUID().toUpperCase()]) {
      await expect(system.launcher.launch(request(id))).rejects.toThrow(TypeError)
    }
    const runDir = path.join(system.options.dataDir, 'x'.repeat(100))
    await expect(createLocalLauncher({ ...system.options, runDir })).rejects.toThrow('too long')
  })
})

test('a session whose folder is gone does not keep the launcher from supervising another', async () => {
  const [broken, well] = [await launched(), await launched()]
  const pidOf = async (id: string) => (await system.record(id)).host!.pid
  const first = await pidOf(well)
  const brokenPid = await pidOf(broken)
  await rm(system.folder(broken).state, { recursive: true })
  process.kill(brokenPid, 'SIGKILL')
  await system.endHost(well, 'SIGKILL')
  await expectEventually(async () => (await pidOf(well).catch(() => first)) !== first)
  await mkdir(system.folder(broken).state, { recursive: true })
})

describe('a launcher that is killed', () => {
  async function crashAt(step: string): Promise<string> {
    const id = randomUUID()
    const { logger, ...options } = system.options
    expect(logger).toBeDefined()
    await system.launcher.close()
    const child = execFile(process.execPath, [
      path.join(programs, 'crashing-launcher.mjs'),
      JSON.stringify(options),
      id,
      step,
    ])
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
    expect(signal).toBe('SIGKILL')
    return id
  }

  test.each([
    ['before anything was started', 'ofProgram 1'],
    ['after work was started, before that was recorded', 'find 1'],
    ['after work was recorded', 'ofProgram 2'],
    ['after host was started, before that was recorded', 'find 2'],
  ])('%s leaves a launch that the next launcher completes', async (_, step) => {
    const id = await crashAt(step)
    const launcher = await system.restart()
    const token = await system.tokenOf(id)
    await expectEventually(async () => (await launcher.identify(token))?.address)
    const { hostProgram, workProgram } = system.options
    const { host, work } = await system.record(id)
    expect((await processes.ofProgram(hostProgram, id)).map(({ pid }) => pid)).toEqual([host?.pid])
    expect((await processes.ofProgram(workProgram, id)).map(({ pid }) => pid)).toEqual([work?.pid])
    await launcher.launch(request(id))
    expect((await system.record(id)).host?.pid).toBe(host?.pid)
    await launcher.remove(id)
    expect(await system.running(id)).toEqual([])
    await expect(stat(system.folder(id).root)).rejects.toThrow('ENOENT')
  })

  test('leaves a host whose exit with 0 the next launcher understands and does not restart', async () => {
    const id = await launched()
    const first = (await system.record(id)).host?.pid
    await system.launcher.close()
    await system.restart()
    const pids = new Set<number | undefined>()
    await system.endHost(id, 0)
    await expectEventually(async () => {
      const record = await system.record(id).catch(() => undefined)
      if (record !== undefined && record.host !== null) pids.add(record.host.pid)
      return record === undefined
    })
    expect([...pids]).toEqual([first])
    expect(await system.running(id)).toEqual([])
  })

  test('in the middle of a removal leaves a removal that the next launcher completes', async () => {
    const id = await crashAt('ofSession 1')
    const launcher = await system.restart()
    expect(await launcher.list()).toEqual([])
    expect(await system.running(id)).toEqual([])
    for (const gone of [system.folder(id).root, system.folder(id).tmp])
      await expect(stat(gone)).rejects.toThrow('ENOENT')
  })

  test('before the launch was recorded leaves a folder that the next launcher removes', async () => {
    const [empty, torn] = [randomUUID(), randomUUID()]
    await mkdir(system.folder(empty).spool, { recursive: true })
    await mkdir(system.folder(torn).spool, { recursive: true })
    await writeFile(system.folder(torn).record, '{"version":1,"sess')
    await mkdir(path.join(path.dirname(system.folder(empty).root), 'lost+found'))
    await system.launcher.close()
    const launcher = await system.restart()
    expect(await launcher.list()).toEqual([])
    expect(await readdir(path.dirname(system.folder(empty).root))).toEqual(['lost+found'])
    await launcher.launch(request(empty))
    expect(await launcher.list()).toHaveLength(1)
  })
})

describe('processes', () => {
  test('a grandchild that left the process group and ignores SIGTERM is killed with its session', async () => {
    const [id, other] = [await launched(), await launched()]
    const away = async (session: string): Promise<number> =>
      Number(await expectEventually(async () => (await lines(path.join(system.folder(session).home, 'away')))[0]))
    const pid = await away(id)
    const [spared, { work }] = [await away(other), await system.record(id)]
    const { stdout } = await new Promise<{ stdout: string }>((resolve) =>
      execFile('ps', ['-o', 'pgid=,sid=,ppid=', '-p', String(pid)], (_, out) => resolve({ stdout: out })),
    )
    expect(stdout.trim().split(/\s+/).map(Number)).not.toContain(work?.pid)
    await system.launcher.remove(id)
    expect(await isAlive(pid)).toBe(false)
    expect(await isAlive(spared)).toBe(true)
    expect((await system.running(other)).length).toBeGreaterThanOrEqual(3)
  })

  test('what work leaves behind is killed when the host has ended', async () => {
    const id = await launched()
    const pid = Number(await expectEventually(async () => (await lines(path.join(system.folder(id).home, 'away')))[0]))
    process.kill((await system.record(id)).work!.pid, 'SIGKILL')
    await system.endHost(id, 0)
    await expectEventually(async () => !(await isAlive(pid)))
    await expectEventually(async () => !(await stat(system.folder(id).root).catch(() => undefined)))
    await expect(stat(system.folder(id).workSocket)).rejects.toThrow('ENOENT')
  })

  test('a program whose work hangs is asked to end before it is killed', async () => {
    const heard = path.join(system.options.dataDir, 'heard')
    const workProgram = path.join(programs, 'hanging-work.mjs')
    const environment = { ...system.options.environment, HEARD: heard }
    const hung = await createLocalSystem({ workProgram, environment })
    try {
      const id = randomUUID()
      await hung.launcher.launch(request(id))
      await expectEventually(async () => (await lines(heard)).includes('up'))
      await hung.launcher.remove(id)
      expect(await lines(heard)).toEqual(['up', 'asked'])
      expect(await hung.running(id)).toEqual([])
    } finally {
      await hung.dispose()
    }
  })

  test('a program that it may not signal keeps none of the others alive', async () => {
    const id = await launched()
    const foreign = spawn('sleep', ['60'], { env: { ...process.env, CLISCALE_SESSION_ID: id } })
    const kill = process.kill.bind(process)
    const refused = jest.spyOn(process, 'kill').mockImplementation((pid, signal) => {
      if (pid === foreign.pid) throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' })
      return kill(pid, signal)
    })
    try {
      await expect(system.launcher.remove(id)).rejects.toThrow('EPERM')
      expect(await system.running(id)).toEqual([foreign.pid])
    } finally {
      refused.mockRestore()
      foreign.kill('SIGKILL')
    }
    await once(foreign, 'exit')
    await system.launcher.remove(id)
    await expect(stat(system.folder(id).root)).rejects.toThrow('ENOENT')
  })

  test('work that dies is not started again', async () => {
    const id = await launched()
    process.kill((await system.record(id)).work!.pid, 'SIGKILL')
    await sleep(600)
    expect(await lines(path.join(system.folder(id).home, 'starts'))).toHaveLength(1)
    expect(await system.launcher.list()).toHaveLength(1)
  })

  test('a host whose work has ended is told so, once after each of its starts', async () => {
    const staying = await createLocalSystem({ hostProgram: path.join(programs, 'staying-host.mjs') })
    try {
      const id = randomUUID()
      await staying.launcher.launch(request(id))
      await expectEventually(async () => (await staying.launcher.list())[0]?.address)
      const told = (): Promise<string[]> => lines(path.join(staying.folder(id).spool, 'told'))
      process.kill((await staying.record(id)).work!.pid, 'SIGKILL')
      await expectEventually(async () => (await told()).length === 1)
      await sleep(600)
      expect(await told()).toHaveLength(1)
      await staying.endHost(id, 75)
      await expectEventually(async () => (await told()).length === 2)
      await staying.endHost(id, 0)
      await expectEventually(async () => (await staying.launcher.list()).length === 0)
    } finally {
      await staying.dispose()
    }
  })

  test('a pid that now belongs to another program is neither trusted nor killed', async () => {
    const id = await launched()
    await system.launcher.close()
    const record = await system.record(id)
    for (const mark of [record.host!, record.work!]) await signalProcess(processes, mark, 'SIGKILL')
    const innocent: ChildProcess = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
    const pid = innocent.pid!
    const reused = { ...record, host: { ...record.host!, pid }, work: { ...record.work!, pid } }
    await writeFile(system.folder(id).record, JSON.stringify(reused))
    const launcher = await system.restart()
    await expectEventually(async () => (await system.record(id)).host?.pid !== pid)
    await expectEventually(async () => (await launcher.list())[0]?.address)
    expect((await system.record(id)).podUid).toBe(record.podUid)
    await launcher.remove(id)
    expect(await isAlive(pid)).toBe(true)
    innocent.kill('SIGKILL')
  })

  test('a signal reaches exactly the intended process, and never us', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    const mark = (await processes.find(child.pid!))!
    expect(await signalProcess(processes, { ...mark, start: `${mark.start}0` }, 'SIGKILL')).toBe(false)
    expect(await signalProcess(processes, (await processes.find(process.pid))!, 'SIGKILL')).toBe(false)
    expect(await signalProcess(processes, { pid: 1, start: '' }, 'SIGKILL')).toBe(false)
    expect(await signalProcess(processes, mark, 'SIGKILL')).toBe(true)
    await once(child, 'exit')
    expect(await signalProcess(processes, mark, 'SIGKILL')).toBe(false)
  })

  test('we and our ancestors are not part of a session, whatever our environment says', async () => {
    const sessionId = randomUUID()
    const script = `import { createProcessTable } from ${JSON.stringify(new URL('../dist/launch/local/process-table.js', import.meta.url))}
      const found = await createProcessTable().ofSession({ sessionId: ${JSON.stringify(sessionId)}, programs: [] })
      process.stdout.write(JSON.stringify({ own: process.pid, found: found.map(({ pid }) => pid) }))`
    const env = { PATH: process.env['PATH'], CLISCALE_SESSION_ID: sessionId }
    const stdout = await new Promise<string>((resolve, reject) => {
      const args = ['-c', 'sleep 5 & "$0" --input-type=module -e "$1"; kill $!', process.execPath, script]
      execFile('/bin/sh', args, { env }, (error, out) => (error ? reject(error) : resolve(out)))
    })
    const { own, found } = JSON.parse(stdout) as { own: number; found: number[] }
    expect(found).not.toContain(own)
    expect(found).not.toContain(process.pid)
    expect(found).toHaveLength(1)
  })

  test('a host that the system refuses to start is tried at growing intervals, and runs once it may', async () => {
    let attempts = 0
    const counting: ProcessTable = {
      ...processes,
      ofProgram: (program, id) => {
        attempts++
        return processes.ofProgram(program, id)
      },
    }
    const one = await createLocalSystem({ processes: counting })
    const node = process.execPath
    try {
      const id = await launched(one)
      const first = (await one.record(id)).host!.pid
      process.execPath = path.join(one.options.dataDir, 'no-node')
      attempts = 0
      await one.endHost(id, 'SIGKILL')
      await sleep(3_000)
      expect((await one.record(id)).host).toBeNull()
      expect(attempts).toBeGreaterThan(1)
      expect(attempts).toBeLessThan(6)
      process.execPath = node
      await expectEventually(async () => (await one.launcher.list())[0]?.address)
      expect((await one.record(id)).host?.pid).not.toBe(first)
    } finally {
      process.execPath = node
      await one.dispose()
    }
  })

  test('a host that always fails is restarted at growing intervals', async () => {
    await using failing = await failingSystem()
    const id = randomUUID()
    await failing.system.launcher.launch(request(id))
    const starts = path.join(failing.system.folder(id).spool, 'starts')
    await expectEventually(async () => (await lines(starts)).length >= 3)
    await sleep(1_500)
    expect((await lines(starts)).length).toBeLessThanOrEqual(4)
    expect(await failing.system.launcher.list()).toHaveLength(1)
  })
})

async function failingSystem(): Promise<{ system: LocalSystem } & AsyncDisposable> {
  const failing = await createLocalSystem({ hostProgram: path.join(programs, 'failing-host.mjs') })
  return { system: failing, [Symbol.asyncDispose]: () => failing.dispose() }
}

test('a launch that fails leaves nothing behind and may be tried again', async () => {
  const id = randomUUID()
  const sessions = path.dirname(system.folder(id).root)
  await rm(sessions, { recursive: true })
  await writeFile(sessions, '')
  await expect(system.launcher.launch(request(id))).rejects.toThrow(/ENOTDIR|EEXIST/)
  expect(await system.launcher.list()).toEqual([])
  await rm(sessions)
  await system.launcher.launch(request(id))
  expect(await system.launcher.list()).toHaveLength(1)
})

const memoryMaxBytes = 120 * 1024 * 1024
const limiter = await findSessionGroups(memoryMaxBytes)
if (limiter === undefined) console.log('memory limits are not tested: this system does not let us set one')
else {
  test('work that exceeds its memory is known to be killed for that, and its host survives', async () => {
    const hungry = await createLocalSystem({ workProgram: path.join(programs, 'hungry-work.mjs'), memoryMaxBytes })
    try {
      const id = await launched(hungry)
      const { host, limited } = await hungry.record(id)
      const group = limiter.groupOf(id)
      expect(limited).toBe(true)
      await expectEventually(async () => (await hungry.launcher.list())[0]?.fault?.reason === 'oom_killed')
      expect(await isAlive(host!.pid)).toBe(true)
      expect(await limiter.members(group)).not.toContain(host!.pid)
      await hungry.launcher.remove(id)
      await expect(stat(group)).rejects.toThrow('ENOENT')
    } finally {
      await hungry.dispose()
    }
  })
}

test('a session is removed although its record cannot be written, as on a full disk', async () => {
  const id = await launched()
  const { root, record } = system.folder(id)
  // Stands in for ENOSPC: a folder in its place keeps the record from being renamed to its name.
  await rm(record)
  await mkdir(path.join(record, 'in-the-way'), { recursive: true })
  await system.launcher.remove(id)
  await expect(stat(root)).rejects.toThrow('ENOENT')
  expect(await system.launcher.list()).toEqual([])
})
