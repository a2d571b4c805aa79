import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'

describe('a controller that refuses', () => {
  test.each([401, 404])('the claim with %d: nothing runs, and host and work end quietly', async (status) => {
    await using controller = await createControllerDouble({ command: 'touch ../ran' })
    controller.refuse.set('claim', status)
    await using session = new HostUnderTest(controller).start()
    expect(await session.hostExit()).toBe(0)
    await session.workExit()
    expect(readdirSync(session.dir)).not.toContain('ran')
    expect(controller.calls).not.toContain('started')
  })

  test('the claim with 409: the host waits, logs that once, and ends when the session has ended', async () => {
    await using controller = await createControllerDouble({ command: 'touch ../ran' })
    controller.refuse.set('claim', 409)
    await using session = new HostUnderTest(controller).start()
    while (controller.calls.filter((call) => call === 'claim').length < 4) await sleep(50)
    expect(session.hostExits).toEqual([])
    expect(session.log('host').match(/another launch holds the session/g)).toHaveLength(1)
    controller.refuse.set('claim', 404)
    expect(await session.hostExit()).toBe(0)
    await session.workExit()
    expect(readdirSync(session.dir)).not.toContain('ran')
  })

  test('the claim with 409 until the other launch is gone: then the session runs', async () => {
    await using controller = await createControllerDouble({ command: 'exit 3' })
    controller.refuse.set('claim', 409)
    await using session = new HostUnderTest(controller).start()
    await controller.called('claim')
    controller.refuse.clear()
    expect(await controller.ended()).toMatchObject({ exitCode: 3 })
    expect(await session.hostExit()).toBe(0)
  })

  test('the started call with 404: the command does not run, and the session ends as stopped', async () => {
    await using controller = await createControllerDouble({ command: 'touch ../ran' })
    controller.refuse.set('started', 404)
    await using session = new HostUnderTest(controller).start()
    expect(await controller.ended()).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
    await session.workExit()
    expect(readdirSync(session.dir)).not.toContain('ran')
  })
})

describe('a controller that is unavailable for 5 s', () => {
  test.each(['claim', 'started', 'running', 'ended'] as const)('from %s on costs only time', async (phase) => {
    await using controller = await createControllerDouble({ command: 'echo one; sleep 1; echo two; exit 4' })
    await using session = new HostUnderTest(controller)
    let went = false
    const away = async (): Promise<void> => {
      went = true
      await controller.down()
      await sleep(5000)
      await controller.up()
    }
    controller.onCall = (call, body) => {
      const name = call === 'events' ? (JSON.parse(body) as { type: string }).type : call
      if (went || name !== phase) return
      void away()
      throw new Error('gone')
    }
    session.start()
    expect(await controller.ended()).toMatchObject({ status: 'failed', exitCode: 4 })
    expect(controller.output.toString()).toBe('one\r\ntwo\r\n')
    expect(await session.hostExit()).toBe(0)
  })

  test('now and then, with 503 to everything, loses nothing', async () => {
    await using controller = await createControllerDouble({ command: 'seq 1 30000' })
    let count = 0
    controller.onCall = (call) => {
      count++
      if (count % 2 === 1) controller.refuse.set(call, 503)
      else controller.refuse.delete(call)
    }
    await using session = new HostUnderTest(controller).start()
    expect(await controller.ended(40_000)).toMatchObject({ status: 'succeeded' })
    expect(controller.output.toString().endsWith('\r\n30000\r\n')).toBe(true)
    expect(controller.output.length).toBe(Array.from({ length: 30_000 }, (_, i) => `${i + 1}\r\n`).join('').length)
    expect(await session.hostExit()).toBe(0)
  })
})

test('and loses answers doubles nothing', async () => {
  await using controller = await createControllerDouble({ command: 'echo ran >> ../ran; seq 1 30000; exit 5' })
  for (const call of ['claim', 'started', 'events', 'output']) controller.loseAnswers.set(call, 3)
  await using session = new HostUnderTest(controller).start()
  expect(await controller.ended()).toMatchObject({ exitCode: 5 })
  expect(readFileSync(path.join(session.dir, 'ran'), 'utf8')).toBe('ran\n')
  expect(controller.output.toString()).toBe(Array.from({ length: 30_000 }, (_, i) => `${i + 1}\r\n`).join(''))
  const ends = controller.events.filter((event) => event.type === 'ended')
  expect(new Set(ends.map((event) => JSON.stringify(event))).size).toBe(1)
})

test('the work order is never on disk, and the secrets beside the journal are private', async () => {
  const secret = 'canary-of-the-order-5c1d'
  await using controller = await createControllerDouble({ command: `sleep 1; : ${secret}`, env: { KEY: secret } })
  await using session = new HostUnderTest(controller).start()
  await controller.event('running')
  for (const name of readdirSync(session.spoolDir, { recursive: true, encoding: 'utf8' })) {
    const file = path.join(session.spoolDir, name)
    expect(readFileSync(file).includes(secret)).toBe(false)
  }
  const { statSync } = await import('node:fs')
  expect(statSync(path.join(session.spoolDir, 'host.json')).mode & 0o777).toBe(0o600)
  await controller.ended()
  expect(session.log('host') + session.log('work')).not.toContain(secret)
})

describe('a stop from the control stream', () => {
  test('ends a command that ignores SIGTERM as stopped after the grace period', async () => {
    await using controller = await createControllerDouble({
      command: `trap 'echo no' TERM; echo up; while :; do sleep 0.2; done`,
    })
    await using session = new HostUnderTest(controller).start()
    await controller.outputHas('up')
    const askedAt = Date.now()
    controller.control({ type: 'stop' })
    expect(await controller.ended()).toMatchObject({ status: 'stopped', reason: 'stopped_by_user', signal: 'SIGKILL' })
    const tookMs = Date.now() - askedAt
    expect(tookMs).toBeGreaterThan(9000)
    expect(tookMs).toBeLessThan(14_000)
    expect(controller.output.toString()).toContain('no')
    expect(await session.leftovers()).toEqual([])
  })

  test('makes the end a stop whatever the exit code is, and gives a graceful child its time', async () => {
    await using controller = await createControllerDouble({
      command: `trap 'sleep 1; echo saved; exit 0' TERM; echo up; while :; do sleep 0.1; done`,
    })
    await using session = new HostUnderTest(controller).start()
    await controller.outputHas('up')
    controller.control({ type: 'stop' })
    expect(await controller.ended()).toMatchObject({ status: 'stopped', reason: 'stopped_by_user', exitCode: 0 })
    expect(controller.output.toString()).toContain('saved')
    expect(await session.hostExit()).toBe(0)
  })

  test('ends a fetch', async () => {
    await using controller = await createControllerDouble({ command: 'touch ../ran' })
    const silent = createServer(() => {})
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const origin = `127.0.0.1:${(silent.address() as AddressInfo).port}`
    controller.setCodeUrl(`http://${origin}/a.zip`, [origin])
    await using session = new HostUnderTest(controller).start()
    await once(silent, 'request')
    controller.control({ type: 'stop' })
    expect(await controller.ended(5000)).toMatchObject({ status: 'stopped', reason: 'stopped_by_user', exitCode: null })
    expect(await session.hostExit()).toBe(0)
    await session.workExit()
    expect(readdirSync(session.dir)).not.toContain('ran')
    silent.closeAllConnections()
    silent.close()
  })
})

test.each([
  ['a command over its time limit', { command: 'sleep 30' }, { status: 'expired', reason: 'deadline' }],
  [
    'an install that fails',
    { command: 'touch ../ran', installCmd: 'echo broken >&2; exit 9' },
    { status: 'failed', reason: 'install_failed', exitCode: 9 },
  ],
  [
    'an install that is killed',
    { command: 'touch ../ran', installCmd: 'kill -9 $$' },
    { status: 'failed', reason: 'install_failed', signal: 'SIGKILL' },
  ],
  [
    'a command that is killed',
    { command: 'kill -KILL $$' },
    { status: 'failed', reason: 'killed_by_signal', signal: 'SIGKILL' },
  ],
  [
    'code that does not exist',
    { command: 'touch ../ran', codeUrl: '/nowhere/at/all' },
    { status: 'failed', reason: 'folder_not_found' },
  ],
])('%s ends with its reason', async (_, order, expected) => {
  await using controller = await createControllerDouble(order)
  controller.timeoutSeconds = 2
  await using session = new HostUnderTest(controller).start()
  const ended = await controller.ended()
  expect(ended).toMatchObject(expected)
  expect(ended.detail).toMatch(/\.$/)
  expect(await session.hostExit()).toBe(0)
  expect(readdirSync(session.dir)).not.toContain('ran')
})
