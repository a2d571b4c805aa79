import { CLOSE, encodeTyped, V1_PROTOCOL } from '@cliscale/contract'
import { describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'
import { refusedUpgrade, TestViewer } from './terminal-client.ts'

const SIZE = { columns: 100, rows: 30 }
const protocols = [V1_PROTOCOL]

describe('viewers of a host', () => {
  test('type into the command when read-write, do not when read-only, and leave when revoked', async () => {
    await using controller = await createControllerDouble({ command: 'while read x; do echo "<$x>"; done' })
    await using session = new HostUnderTest(controller).start()
    const port = await session.port()
    await controller.event('running')
    await using reader = await new TestViewer({ port, protocols, assertion: await controller.assertion('ro') }).open(
      SIZE,
    )
    await using writer = await new TestViewer({ port, protocols, assertion: await controller.assertion('rw') }).open(
      SIZE,
    )
    await writer.until(() => writer.hello !== undefined, 'hello')
    reader.type('from reader\r')
    writer.type('from writer\r')
    await reader.untilText('<from writer>')
    expect(writer.text()).not.toContain('from reader')
    controller.control({ type: 'revoke', viewer: writer.hello!.viewer })
    await writer.untilClosed()
    expect(writer.closed!.code).toBe(CLOSE.token)
    expect(reader.closed).toBeUndefined()
    controller.control({ type: 'stop' })
    await reader.untilClosed(15_000)
    const told = reader.messages.flatMap((message) => (message.type === 'status' ? [message.status] : []))
    expect(told.at(-1)).toMatchObject({ status: 'running', stopping: true })
    expect(reader.exit).toMatchObject({ status: 'stopped', reason: 'stopped_by_user' })
    expect(reader.closed!.code).toBe(CLOSE.normal)
  })

  test('are told what runs, also by a host that was started again, and nothing of its surroundings', async () => {
    await using controller = await createControllerDouble({
      command: 'KEY=secret sleep 30 # \x1b[31mred\nsecond line',
      env: { SECRET: 'of env' },
      prompt: 'of prompt',
    })
    await using session = new HostUnderTest(controller).start()
    await controller.event('running')
    const assertion = await controller.assertion('ro')
    const isRunning = ({ type, status }: { type: string; status?: { status: string } }): boolean =>
      type === 'status' && status?.status === 'running'
    for (const life of ['first', 'second']) {
      await using viewer = await new TestViewer({ port: await session.port(), protocols, assertion }).open(SIZE)
      await viewer.until(() => viewer.messages.some(isRunning), `status of the ${life} life`)
      const told = JSON.stringify(viewer.messages)
      expect(told).toContain('"command":"KEY=… sleep 30 #  [31mred …"')
      for (const hidden of ['secret', 'second line', 'of env', 'of prompt']) expect(told).not.toContain(hidden)
      session.forgetPort()
      if (life === 'first') await session.restartHost()
    }
  })

  test('may type before the command runs, even to a host that is killed meanwhile: each byte arrives once', async () => {
    await using controller = await createControllerDouble({
      command: 'read -r a; read -r b; echo "<$a> <$b>"',
      installCmd: 'echo installing; sleep 1.5',
    })
    await using session = new HostUnderTest(controller).start()
    const assertion = await controller.assertion('rw')
    const open = async (): Promise<TestViewer> => {
      const viewer = new TestViewer({ port: await session.port(), protocols, assertion })
      await viewer.open({ ...SIZE, input: 'page' })
      await viewer.until(() => viewer.messages.some(({ type }) => type === 'progress'), 'progress')
      return viewer
    }
    const first = await open()
    first.ws.send(encodeTyped({ at: 0 }, Buffer.from('first\nsec')))
    await first.untilText('installing')
    await session.killHost()
    session.forgetPort()
    session.startHost()
    await first.untilClosed()
    await using second = await open()
    second.ws.send(encodeTyped({ at: 0 }, Buffer.from('first\nsecond\n')))
    expect(await second.untilText('<first> <second>')).not.toContain('<first> <first>')
  }, 20_000)

  test('get in with a key that is newer than the host, and not with another session’s assertion', async () => {
    await using controller = await createControllerDouble({ command: 'sleep 30' })
    await using other = await createControllerDouble({})
    await using session = new HostUnderTest(controller).start()
    const port = await session.port()
    await controller.event('running')
    const foreign = await refusedUpgrade({ port, protocols, assertion: await other.assertion('rw') })
    expect(foreign.status).toBe(401)
    expect((await refusedUpgrade({ port, protocols })).status).toBe(401)
    await using early = await new TestViewer({ port, protocols, assertion: await controller.assertion('rw') }).open(
      SIZE,
    )
    await early.until(() => early.hello !== undefined, 'hello')
    await controller.rotateKeys()
    await new Promise((resolve) => setTimeout(resolve, 10_500)) // the cooldown of the keys
    await using late = await new TestViewer({ port, protocols, assertion: await controller.assertion('rw') }).open(SIZE)
    await late.until(() => late.hello !== undefined, 'hello')
  }, 40_000)

  test.each([
    ['is told to end and closes them with 1012', 'SIGTERM'],
    ['is killed', 'SIGKILL'],
  ] as const)(
    'resume at their offset when the host %s',
    async (_, signal) => {
      await using controller = await createControllerDouble({
        // The second half waits for the second viewer, so that a slow machine does not end the session before it comes.
        command:
          'for i in $(seq 1 20); do seq 1 500; sleep 0.05; done; until [ -e ../go ]; do sleep 0.05; done; for i in $(seq 1 20); do seq 1 500; done',
      })
      await using session = new HostUnderTest(controller).start()
      const assertion = await controller.assertion('rw')
      const received: Buffer[] = []
      let have = 0
      await using first = await new TestViewer({ port: await session.port(), protocols, assertion }).open(SIZE)
      await first.until(() => first.position > 20_000, 'output')
      const ended = once(session.host!, 'exit')
      session.host!.kill(signal)
      await first.untilClosed()
      const [code] = (await ended) as [number | null]
      if (signal === 'SIGTERM') {
        expect(first.closed!.code).toBe(CLOSE.restart)
        expect(code).toBe(75)
      }
      expect(first.from).toBe(0)
      received.push(first.bytes())
      have = first.position
      session.forgetPort()
      session.startHost()
      await using second = await new TestViewer({ port: await session.port(), protocols, assertion }).open({
        ...SIZE,
        epoch: first.hello!.epoch,
        have,
      })
      await second.until(() => second.hello !== undefined, 'hello')
      expect(second.hello!.seq).toBe(have)
      writeFileSync(path.join(session.dir, 'go'), '')
      await second.until(() => second.exit !== undefined, 'exit', 20_000)
      received.push(second.bytes())
      const run = Array.from({ length: 500 }, (_, i) => `${i + 1}\r\n`).join('')
      expect(Buffer.concat(received).toString() === run.repeat(40)).toBe(true)
      expect(second.exit).toMatchObject({ status: 'succeeded', exitCode: 0 })
    },
    40_000,
  )
})
