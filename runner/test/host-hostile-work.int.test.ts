import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { expect, test } from '@jest/globals'
import { encodeFrame, encodeOutput, FrameDecoder, FrameType } from '../src/relay/frames.ts'
import { decodeHostMessage, encodeMessage, type HostMessage } from '../src/relay/messages.ts'
import { type ControllerDouble, createControllerDouble } from './controller-double.ts'
import { HostUnderTest } from './host-process.ts'

/** What a command that took over work's socket could send. */
async function withWork(
  onMessage: (message: HostMessage, socket: Socket) => void,
  check: (controller: ControllerDouble, session: HostUnderTest) => Promise<void>,
): Promise<void> {
  await using controller = await createControllerDouble({})
  controller.timeoutSeconds = 2
  await using session = new HostUnderTest(controller)
  const server = net.createServer((socket) => {
    const decoder = new FrameDecoder()
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      for (const frame of decoder.push(chunk as Buffer)) {
        if (frame.type === FrameType.json) onMessage(decodeHostMessage(frame.body), socket)
      }
    })
  })
  server.listen(session.workSocket)
  await once(server, 'listening')
  session.startHost()
  try {
    await check(controller, session)
  } finally {
    server.close()
  }
}

const welcome = encodeMessage({ type: 'welcome', state: 'running', base: 0, stages: [] })

test.each([
  ['a gap in its output', encodeOutput(500, Buffer.from('x'))],
  ['a frame without an end', Buffer.alloc(16, 0xff)],
  ['invalid JSON', encodeFrame(FrameType.json, Buffer.from('{{'))],
  ['an unknown message', encodeFrame(FrameType.json, Buffer.from('{"type":"root"}'))],
  [
    'an exit beyond its output',
    encodeFrame(
      FrameType.json,
      Buffer.from(
        '{"type":"exit","exit":{"phase":"command","exitCode":0,"signal":null,"failure":null,"oomKilled":false,"stopped":null,"at":"2026-01-01T00:00:00Z","offset":99}}',
      ),
    ),
  ],
])('work that sends %s ends the session as lost, and the host survives', async (_, bytes) => {
  await withWork(
    (message, socket) => {
      if (message.type === 'hello') socket.write(Buffer.concat([welcome, bytes]))
    },
    async (controller, session) => {
      expect(await controller.ended()).toMatchObject({ status: 'lost', reason: 'runner_lost' })
      expect(await session.hostExit()).toBe(0)
      expect(session.hostExits).toEqual([0])
    },
  )
})

test('work that claims to run since the year 2999 has its time limit from now', async () => {
  const at = '2999-01-01T00:00:00.000Z'
  await withWork(
    (message, socket) => {
      if (message.type === 'hello') {
        socket.write(Buffer.concat([welcome, encodeMessage({ type: 'stage', stage: { name: 'running', at } })]))
      }
      if (message.type !== 'stop') return
      const rest = { phase: 'command', exitCode: null, signal: 'SIGKILL', failure: null, oomKilled: false } as const
      socket.write(encodeMessage({ type: 'exit', exit: { ...rest, stopped: message.cause, at, offset: 0 } }))
    },
    async (controller) => {
      expect(await controller.ended()).toMatchObject({ status: 'expired', reason: 'deadline' })
      for (const event of controller.events) expect(Date.parse(event.at)).toBeLessThanOrEqual(Date.now())
    },
  )
})
