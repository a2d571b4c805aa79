import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'

const sha = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')

async function appears(file: string): Promise<void> {
  for (const until = Date.now() + 20_000; !existsSync(file); await sleep(20)) {
    if (Date.now() > until) throw new Error(`${path.basename(file)} does not appear`)
  }
}

describe('a session without faults', () => {
  test('runs a bare command with its bytes and no others, its stages and its end', async () => {
    await using controller = await createControllerDouble({ command: 'seq 1 20000; exit 3' })
    await using session = new HostUnderTest(controller).start()
    expect(await controller.ended()).toMatchObject({
      status: 'failed',
      reason: 'exit_nonzero',
      detail: 'The command ended with exit code 3.',
      exitCode: 3,
      signal: null,
    })
    expect(await session.hostExit()).toBe(0)
    await session.workExit()
    expect(sha(controller.output)).toBe(sha(`${Array.from({ length: 20_000 }, (_, i) => i + 1).join('\r\n')}\r\n`))
    expect(controller.events.map((event) => (event.type === 'stage' ? event.name : event.type))).toEqual([
      'running',
      'ended',
    ])
  })

  test.each([
    [{ columns: 203, rows: 51 }, '51 203'],
    [{ rows: 7 }, '7 120'],
    [{}, '40 120'],
  ])('begins in a terminal of the requested size: %j', async (size, printed) => {
    await using controller = await createControllerDouble({ command: 'stty size', ...size })
    await using session = new HostUnderTest(controller).start()
    await controller.ended()
    expect(await session.hostExit()).toBe(0)
    expect(controller.output.toString()).toBe(`${printed}\r\n`)
  })

  test('fetches a folder, installs, runs, and reports these steps in dim lines', async () => {
    await using controller = await createControllerDouble({
      command: 'cat made',
      installCmd: 'echo one; echo two > made',
    })
    await using session = new HostUnderTest(controller).withCode('x').start()
    expect(await controller.ended()).toMatchObject({ status: 'succeeded', reason: null, exitCode: 0 })
    const text = controller.output.toString().replace(/\d+\.\d s/g, 'N s')
    expect(text).toBe('\x1b[2m── code fetched in N s\x1b[0m\r\none\r\n\x1b[2m── installed in N s\x1b[0m\r\ntwo\r\n')
    expect(controller.events.map((event) => (event.type === 'stage' ? event.name : event.type))).toEqual([
      'fetching_code',
      'installing',
      'running',
      'ended',
    ])
    expect(await session.hostExit()).toBe(0)
  })
})

test('ends an install that does not end, even across a restart of the host, and does not run the command', async () => {
  await using controller = await createControllerDouble({ command: 'touch ../ran', installCmd: 'echo in; sleep 600' })
  await using session = new HostUnderTest(controller)
  const limit = { CLISCALE_INSTALL_LIMIT_SECONDS: '2' }
  session.startWork()
  session.startHost(limit)
  await controller.outputHas('in')
  await session.killHost()
  session.startHost(limit)
  expect(await controller.ended()).toMatchObject({ status: 'failed', reason: 'install_failed' })
  expect(await session.hostExit()).toBe(0)
  expect(JSON.parse(readFileSync(session.endpointFile, 'utf8'))).toEqual({ done: true })
  expect(existsSync(path.join(session.dir, 'ran'))).toBe(false)
})

describe('a host that is told to end', () => {
  test.each(['claim', 'started', 'quiet'] as const)(
    'while it waits (%s) exits at once with 75, and its next start ends the session',
    async (phase) => {
      await using controller = await createControllerDouble({
        command: phase === 'quiet' ? 'until [ -e ../go ]; do sleep 0.1; done; exit 7' : 'exit 7',
      })
      await using session = new HostUnderTest(controller)
      controller.refuse.set(phase, 503)
      session.start()
      if (phase === 'quiet') await controller.event('running')
      else await controller.called(phase)
      await sleep(300)
      const askedAt = Date.now()
      session.host!.kill('SIGTERM')
      expect(await session.hostExit()).toBe(75)
      expect(Date.now() - askedAt).toBeLessThan(4000)
      controller.refuse.clear()
      writeFileSync(path.join(session.dir, 'go'), '')
      session.startHost()
      expect(await controller.ended()).toMatchObject({ status: 'failed', exitCode: 7 })
      expect(await session.hostExit()).toBe(0)
    },
  )

  test('when work is gone first completes the session: output, reason and termination message', async () => {
    await using controller = await createControllerDouble({ command: 'echo begun; sleep 100' })
    await using session = new HostUnderTest(controller)
    session.startWork()
    session.startHost({ CLISCALE_TERMINATION_MESSAGE_FILE: path.join(session.dir, 'last') })
    await controller.outputHas('begun')
    controller.refuse.set('events', 503)
    session.work!.kill('SIGKILL')
    await sleep(100)
    session.host!.kill('SIGTERM')
    await sleep(2500)
    expect(session.hostExits).toEqual([])
    controller.refuse.clear()
    expect(await controller.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost' })
    expect(await session.hostExit()).toBe(0)
    expect(JSON.parse(readFileSync(path.join(session.dir, 'last'), 'utf8'))).toMatchObject({
      status: 'lost',
      reason: 'runner_lost',
      exitCode: null,
      signal: null,
    })
    expect(controller.output.toString()).toBe('begun\r\n')
  })

  test('when work never came ends the session instead of waiting for it', async () => {
    await using controller = await createControllerDouble({ command: 'exit 7' })
    await using session = new HostUnderTest(controller)
    session.startHost()
    await controller.called('control')
    session.host!.kill('SIGTERM')
    expect(await controller.ended(5000)).toMatchObject({ status: 'lost', reason: 'runner_lost' })
  })

  test('when work is gone and the claim is unanswered still ends the session', async () => {
    await using controller = await createControllerDouble({ command: 'exit 7' })
    await using session = new HostUnderTest(controller)
    controller.refuse.set('claim', 503)
    session.startHost()
    await controller.called('claim')
    session.host!.kill('SIGTERM')
    await sleep(1000)
    controller.refuse.clear()
    expect(await controller.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost' })
  })

  test('when its session is over reports the end, and gives up only after the grace period', async () => {
    await using controller = await createControllerDouble({ command: 'exit 7' })
    await using session = new HostUnderTest(controller)
    controller.refuse.set('events', 503)
    const lastWords = path.join(session.dir, 'last')
    session.startWork()
    session.startHost({ CLISCALE_END_GRACE_SECONDS: '3', CLISCALE_TERMINATION_MESSAGE_FILE: lastWords })
    await appears(lastWords)
    const askedAt = Date.now()
    session.host!.kill('SIGTERM')
    expect(await session.hostExit()).toBe(75)
    expect(Date.now() - askedAt).toBeGreaterThan(2500)
    controller.refuse.clear()
    session.startHost()
    expect(await controller.ended()).toMatchObject({ status: 'failed', exitCode: 7 })
    expect(await session.hostExit()).toBe(0)
    await session.workExit()
  })

  test('as another launch holds its session exits at once', async () => {
    await using controller = await createControllerDouble({})
    await using session = new HostUnderTest(controller)
    controller.refuse.set('claim', 409)
    session.startWork()
    await appears(session.workSocket)
    session.startHost()
    await controller.called('claim')
    session.host!.kill('SIGTERM')
    expect(await session.hostExit()).toBe(75)
  })
})

describe('the end of a session', () => {
  test('is reported before work is told to end, because that could end the pod', async () => {
    await using controller = await createControllerDouble({ command: 'echo out; exit 4' })
    await using session = new HostUnderTest(controller)
    controller.onCall = (call, body) => {
      if (call === 'events' && body.includes('"ended"')) expect(session.work!.exitCode).toBe(null)
    }
    session.start()
    expect(await controller.ended()).toMatchObject({ exitCode: 4 })
    expect(await session.hostExit()).toBe(0)
    await session.workExit()
    expect(await session.leftovers()).toEqual([])
  })

  test('by deletion of the pod ends work first, gives the command its grace period, and is reported as lost', async () => {
    await using controller = await createControllerDouble({
      command: `trap 'sleep 1; echo saved; exit 0' TERM; echo up; while :; do sleep 0.1; done`,
    })
    await using session = new HostUnderTest(controller).start()
    await controller.outputHas('up')
    session.work!.kill('SIGTERM')
    expect(await controller.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost', exitCode: 0 })
    expect(controller.output.toString()).toContain('saved')
    await session.workExit()
    session.host!.kill('SIGTERM')
    expect(await session.hostExit()).toBe(0)
  })
})
