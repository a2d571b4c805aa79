import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { TestDatabase } from '@cliscale/test-kit'
import { binaryFrame } from '../src/attach/frames.ts'
import { createDatabase, createKeys, type Keys, podAnswer, rawPod, Rig, until, upgradeHead } from './support.ts'

const ROUNDS = 25

let database: TestDatabase
let keys: Keys
let rig: Rig

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
  rig = await Rig.start(database, keys, { limits: { dialMs: 200, lingerMs: 300, statusMs: 100, pollMs: 200 } })
})
afterAll(async () => {
  await rig[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** TCP sockets and timers of this process, less the idle timers of the gateway's pool, whose connections are pipes. */
function resources(): { sockets: number; timers: number } {
  const names = process.getActiveResourcesInfo()
  const count = (name: string): number => names.filter((n) => n === name).length
  return { sockets: count('TCPSocketWrap'), timers: count('Timeout') - rig.pool.idleCount }
}

const flood = binaryFrame(Buffer.alloc(64 * 1024, '0'))
const pods: Record<string, (socket: Socket) => void> = {
  answering: (socket) => socket.once('data', (head) => socket.write(podAnswer(head.toString()))),
  flooding: (socket) =>
    socket.once('data', (head) => {
      socket.write(podAnswer(head.toString()))
      const more = (): void => {
        while (!socket.destroyed && socket.write(flood));
      }
      socket.on('drain', more)
      more()
    }),
  dead: (socket) => socket.resetAndDestroy(),
  silent: (socket) => socket.resume(),
}

/** What a client does between its connection and its end. */
const kinds: Record<string, { pod: keyof typeof pods; visit: (socket: Socket, head: string) => Promise<void> }> = {
  'leaves before the head is whole': {
    pod: 'answering',
    visit: async (socket, head) => void socket.write(head.slice(0, -10)),
  },
  'leaves before the 101': { pod: 'answering', visit: async (socket, head) => void socket.write(head) },
  'leaves after the 101': {
    pod: 'answering',
    visit: async (socket, head) => {
      socket.write(head)
      await once(socket, 'data')
    },
  },
  'resets while flooded and not reading': {
    pod: 'flooding',
    visit: async (socket, head) => {
      socket.write(head)
      await once(socket, 'data')
      socket.pause()
      await new Promise((resolve) => setTimeout(resolve, 20))
    },
  },
  'leaves while the back end is dead': {
    pod: 'dead',
    visit: async (socket, head) => {
      socket.write(head)
      await once(socket, 'data')
    },
  },
  'leaves while the back end is silent': {
    pod: 'silent',
    visit: async (socket, head) => {
      socket.write(head)
      await once(socket, 'data')
    },
  },
}
const goodbyes: readonly ((socket: Socket) => void)[] = [
  (socket) => socket.resetAndDestroy(),
  (socket) => socket.end(),
  (socket) => socket.destroy(),
]

test.each(Object.entries(kinds))('leaves nothing of a client that %s', async (_name, { pod: behaviour, visit }) => {
  await using pod = await rawPod(pods[behaviour] as (socket: Socket) => void)
  const sid = await rig.seed({ port: pod.port })
  const before = resources()
  const clients: Socket[] = []
  await Promise.all(
    Array.from({ length: ROUNDS }, async (_, round) => {
      const socket = net.connect(rig.port, '127.0.0.1')
      clients.push(socket)
      socket.on('error', () => undefined)
      const token = await rig.token(sid)
      await visit(socket, upgradeHead({ path: `/ws/${sid}?token=${token}`, host: rig.host }))
      goodbyes[round % goodbyes.length]?.(socket)
    }),
  )
  await until(() => {
    const { pending, open } = rig.gateway.stats()
    return pending === 0 && Object.values(open).every((n) => n === 0)
  }, 15_000)
  await until(() => pod.sockets.size === 0)
  const connections = (): Promise<number> =>
    new Promise((resolve) => rig.server.getConnections((_error, count) => resolve(count)))
  await until(async () => (await connections()) === 0, 10_000)
  // A client that never reads to its end keeps its own socket.
  for (const client of clients) client.destroy()
  await until(() => {
    const after = resources()
    return after.timers <= before.timers && after.sockets <= before.sockets
  }, 5_000)
  expect(resources().sockets).toBeLessThanOrEqual(before.sockets)
})
