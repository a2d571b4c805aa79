import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'

const sha = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')

describe('a session without faults', () => {
  test('runs a bare command: its bytes and nothing else, its stages, its end', async () => {
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

  test('fetches a folder, installs, runs, and says so in dim lines', async () => {
    await using controller = await createControllerDouble({
      command: 'cat made',
      installCmd: 'echo one; echo two > made',
    })
    await using session = new HostUnderTest(controller)
    const code = path.join(session.dir, 'code')
    mkdirSync(code)
    writeFileSync(path.join(code, 'file'), 'x')
    controller.setCodeUrl(code)
    session.start()
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

test('an install that does not end is ended, also over a life of the host, and the command is not run', async () => {
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
  test.each(['claim', 'work', 'started', 'quiet', 'report'] as const)(
    'while it waits (%s) leaves at once with 75, and its next life ends the session',
    async (phase) => {
      await using controller = await createControllerDouble({
        command: phase === 'quiet' ? 'until [ -e ../go ]; do sleep 0.1; done; exit 7' : 'exit 7',
      })
      await using session = new HostUnderTest(controller)
      const held = phase === 'report' ? 'events' : phase
      controller.refuse.set(held, 503)
      if (phase !== 'work') session.startWork()
      session.startHost()
      if (phase === 'quiet') await controller.event('running')
      else await controller.called(phase === 'work' ? 'control' : held)
      await sleep(300)
      const askedAt = Date.now()
      session.host!.kill('SIGTERM')
      expect(await session.hostExit()).toBe(75)
      expect(Date.now() - askedAt).toBeLessThan(4000)
      controller.refuse.clear()
      if (phase === 'work') session.startWork()
      writeFileSync(path.join(session.dir, 'go'), '')
      session.startHost()
      expect(await controller.ended()).toMatchObject({ status: 'failed', exitCode: 7 })
      expect(await session.hostExit()).toBe(0)
    },
  )
})
