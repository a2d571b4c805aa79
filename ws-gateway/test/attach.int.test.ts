import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import net, { type Socket } from 'node:net'
import type { TestDatabase } from '@cliscale/test-kit'
import { createMetrics } from '@cliscale/service-kit/metrics'
import { closeFrame, binaryFrame } from '../src/attach/frames.ts'
import {
  createDatabase,
  createKeys,
  echoPod,
  Inbox,
  type Keys,
  podAnswer,
  rawPod,
  Rig,
  until,
  upgradeHead,
} from './support.ts'

const FAST = { statusMs: 100, pollMs: 150, dialMs: 300, lingerMs: 300, helloMs: 200 }

let database: TestDatabase
let keys: Keys
let rig: Rig

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
})
beforeEach(async () => {
  rig = await Rig.start(database, keys, { limits: FAST })
})
afterEach(async () => {
  await using ended = rig
  await until(() => Object.values(ended.gateway.stats().open).every((n) => n === 0))
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

async function attach(
  target: Rig,
  sid: string,
  options: { protocols?: string[]; greet?: string } = {},
): Promise<Inbox> {
  const ws = target.open(sid, {
    query: `?token=${await target.token(sid)}`,
    protocols: options.protocols ?? ['cliscale.v1'],
  })
  const inbox = new Inbox(ws)
  await once(ws, 'open')
  if (options.greet !== undefined) ws.send(Buffer.from(options.greet))
  return inbox
}

const leave = async (inbox: Inbox): Promise<void> => {
  inbox.socket.terminate()
  await until(() => inbox.closed)
}

describe('while the pod is not there yet', () => {
  test('statuses come at once, at each change and at least once per interval, and input is kept', async () => {
    const sid = await rig.seed({ status: 'queued', podUid: null })
    const inbox = await attach(rig, sid, { greet: '{"columns":80,"rows":24}' })
    inbox.socket.send(Buffer.from('0typed early'))
    await until(() => inbox.of('9').length >= 3)
    expect(JSON.parse(String(inbox.of('9')[0]))).toMatchObject({ status: 'queued', stage: null, reason: null })
    await database.query(`update sessions set status = 'starting', stage = 'fetching_code' where id = $1`, [sid])
    await until(() => inbox.of('9').some((text) => text.includes('"stage":"fetching_code"')))
    await using pod = await echoPod()
    await rig.endpoint(sid, pod.port)
    expect(await until(() => inbox.of('0')[0])).toBe('typed early')
    expect(inbox.of('{')).toEqual(['"columns":80,"rows":24}'])
    const quiet = inbox.of('9').length
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect(inbox.of('9')).toHaveLength(quiet)
    await leave(inbox)
  })

  test('the viewer learns the reason for the wait at once, and hears no more of it after the wait or the session', async () => {
    await using slow = await Rig.start(database, keys, { limits: { ...FAST, pollMs: 60_000, statusMs: 60_000 } })
    const sid = await slow.seed({ status: 'scheduling', stage: 'pulling_image', podUid: null })
    const [v1, tty] = [await attach(slow, sid), await attach(slow, sid, { protocols: ['tty'] })]
    await until(() => v1.of('9').length === 1 && tty.of('0').length === 1)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const wait = { reason: 'image_pull', hint: 'The image no/such:1 cannot be pulled yet; it is tried again.' }
    const told = () => v1.of('9').map((text) => JSON.parse(text) as { reason: string | null; hint: string | null })
    await database.query('update sessions set wait_reason = $2, wait_detail = $3 where id = $1', [
      sid,
      wait.reason,
      wait.hint,
    ])
    await until(() => v1.of('9').length === 2 && tty.of('0').length === 2)
    expect(told().at(-1)).toMatchObject(wait)
    expect(tty.of('0').at(-1)).toContain(wait.hint)
    await database.query('update sessions set wait_reason = null, wait_detail = null where id = $1', [sid])
    await until(() => v1.of('9').length === 3)
    expect(told().at(-1)).toMatchObject({ reason: null, hint: null })
    await database.query(
      `update sessions set status = 'failed', reason = 'oom_killed', detail = 'Its end.', ended_at = now(),
         wait_reason = 'unschedulable', wait_detail = 'An old wait.' where id = $1`,
      [sid],
    )
    await until(() => v1.closed)
    expect(JSON.parse(String(v1.of('7')[0]))).toMatchObject({ reason: 'oom_killed', detail: 'Its end.' })
    await leave(tty)
  })

  test('a change is noticed by LISTEN, before the next poll', async () => {
    await using slow = await Rig.start(database, keys, { limits: { ...FAST, pollMs: 60_000, statusMs: 60_000 } })
    const sid = await slow.seed({ status: 'queued' })
    const inbox = await attach(slow, sid)
    await until(() => inbox.of('9').length === 1)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const at = Date.now()
    await database.query(`update sessions set status = 'starting' where id = $1`, [sid])
    await until(() => inbox.of('9').length === 2)
    expect(Date.now() - at).toBeLessThan(1_000)
    await leave(inbox)
  })

  test('one LISTEN connection and one query serve all viewers, and none runs when nobody waits', async () => {
    const sids = await Promise.all([0, 1, 2, 3].map(() => rig.seed({ status: 'queued' })))
    const inboxes = await Promise.all(sids.flatMap((sid) => [attach(rig, sid), attach(rig, sid)]))
    const listeners = async (): Promise<number> => {
      const { rows } = await database.query(
        `select 1 from pg_stat_activity where query ilike 'listen%' and datname = current_database()`,
      )
      return rows.length
    }
    await until(async () => (await listeners()) === 1)
    await Promise.all(inboxes.map((inbox) => until(() => inbox.of('9').length >= 3)))
    expect(await listeners()).toBe(1)
    await Promise.all(inboxes.map(leave))
    await until(async () => (await listeners()) === 0)
  })

  test('a LISTEN connection that is killed is replaced, and no viewer notices', async () => {
    const sid = await rig.seed({ status: 'queued' })
    const inbox = await attach(rig, sid)
    const kill = `select pg_terminate_backend(pid) from pg_stat_activity
      where query ilike 'listen%' and datname = current_database()`
    await until(async () => (await database.query(kill)).rowCount)
    await until(async () => {
      const { rows } = await database.query(
        `select 1 from pg_stat_activity where query ilike 'listen%' and datname = current_database()`,
      )
      return rows.length
    })
    await using pod = await echoPod()
    await rig.endpoint(sid, pod.port)
    inbox.socket.send(Buffer.from('0x'))
    expect(await until(() => inbox.of('0')[0])).toBe('x')
    await leave(inbox)
  })

  test('on tty, lines of text describe the wait', async () => {
    const sid = await rig.seed({ status: 'starting', stage: 'installing' })
    const inbox = await attach(rig, sid, { protocols: ['tty'] })
    expect(inbox.socket.protocol).toBe('tty')
    expect(await until(() => inbox.of('0')[0])).toContain('[cliscale] installing, ')
    expect(inbox.of('9')).toEqual([])
    await leave(inbox)
  })

  test('a client that offers no protocol is served as tty, and the answer names no protocol', async () => {
    const sid = await rig.seed({ status: 'queued' })
    const inbox = await attach(rig, sid, { protocols: [] })
    expect(inbox.socket.protocol).toBe('')
    expect(await until(() => inbox.of('0')[0])).toContain('[cliscale] queued')
    await leave(inbox)
  })

  test('64 KiB of a client’s input are kept, the rest stays with the client, and all of it arrives in order', async () => {
    const sid = await rig.seed({ status: 'starting' })
    const inbox = await attach(rig, sid)
    const sent = Buffer.alloc(16_000_000, '0123456789')
    for (let at = 0; at < sent.length; at += 50_000)
      inbox.socket.send(Buffer.concat([Buffer.from('0'), sent.subarray(at, at + 50_000)]))
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(inbox.socket.bufferedAmount).toBeGreaterThan(0)
    await using pod = await echoPod()
    await rig.endpoint(sid, pod.port)
    await until(() => inbox.of('0').length === 320, 10_000)
    expect(Buffer.from(inbox.of('0').join('')).equals(sent)).toBe(true)
    await leave(inbox)
  })

  test('a session that is removed closes its viewers with 4404', async () => {
    const sid = await rig.seed({ status: 'queued' })
    const inbox = await attach(rig, sid)
    await database.query('delete from sessions where id = $1', [sid])
    expect(await until(() => inbox.closed)).toMatchObject({ code: 4404 })
  })

  test('the endpoint of a pod without the claim is not dialled', async () => {
    const dialled: Socket[] = []
    await using pod = await rawPod((socket) => void dialled.push(socket))
    const sid = await rig.seed({ status: 'starting', podUid: 'pod-1' })
    await rig.endpoint(sid, pod.port, { podUid: 'pod-2' })
    const inbox = await attach(rig, sid)
    await until(() => inbox.of('9').length >= 4)
    expect(dialled).toEqual([])
    await leave(inbox)
  })

  test('the endpoint of an unclaimed session is not dialled', async () => {
    const dialled: Socket[] = []
    await using pod = await rawPod((socket) => void dialled.push(socket))
    const sid = await rig.seed({ status: 'starting', podUid: null })
    await database.query(
      `insert into session_endpoints (session_id, pod_ip, port, pod_uid) values ($1, '127.0.0.1', $2, 'pod-1')`,
      [sid, pod.port],
    )
    const inbox = await attach(rig, sid)
    await until(() => inbox.of('9').length >= 4)
    expect(dialled).toEqual([])
    await leave(inbox)
  })

  test.each([['169.254.169.254'], ['::1'], ['localhost'], ['10.0.0.1']])(
    'an endpoint at %s, outside the pod networks, is not dialled',
    async (address) => {
      const sid = await rig.seed({ port: 80, address })
      const inbox = await attach(rig, sid)
      expect(await until(() => inbox.closed)).toMatchObject({ code: 1011 })
    },
  )
})

describe('a pod', () => {
  test('that refuses the connection is dialled again until it accepts', async () => {
    const free = net.createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const { port } = free.address() as net.AddressInfo
    free.close()
    const sid = await rig.seed({ port })
    const inbox = await attach(rig, sid)
    await until(() => inbox.of('9').some((text) => text.includes('does not answer yet')))
    await using pod = await echoPod()
    await rig.endpoint(sid, pod.port)
    inbox.socket.send(Buffer.from('0x'))
    expect(await until(() => inbox.of('0')[0])).toBe('x')
    await leave(inbox)
  })

  test.each<[string, (socket: Socket) => void]>([
    ['never answers', (socket) => socket.resume()],
    ['resets', (socket) => socket.resetAndDestroy()],
    ['ends', (socket) => socket.resume().end()],
    ['answers 500', (socket) => socket.once('data', () => socket.end('HTTP/1.1 500 No\r\n\r\n'))],
    ['does not speak HTTP', (socket) => socket.once('data', () => socket.write('SSH-2.0-x\r\n\r\n'))],
    [
      'answers without end',
      (socket) => socket.once('data', () => socket.write('HTTP/1.1 101 x\r\nA: '.padEnd(40_000, 'a'))),
    ],
    ['answers with a wrong Sec-WebSocket-Accept', (socket) => socket.once('data', () => socket.write(podAnswer('')))],
    [
      'answers in another protocol',
      (socket) => socket.once('data', (head) => socket.write(podAnswer(head.toString(), 'chat'))),
    ],
  ])('that %s is abandoned at the deadline and dialled again', async (_name, behave) => {
    await using bad = await rawPod((socket) => behave(socket))
    const sid = await rig.seed({ port: bad.port })
    const inbox = await attach(rig, sid)
    await until(() => inbox.of('9').some((text) => text.includes('does not answer yet')))
    await using good = await echoPod()
    await rig.endpoint(sid, good.port)
    inbox.socket.send(Buffer.from('0x'))
    expect(await until(() => inbox.of('0')[0])).toBe('x')
    await until(() => bad.sockets.size === 0)
    await leave(inbox)
  })

  test('that has no place for another viewer is dialled again, and the viewer is told', async () => {
    await using full = await rawPod((s) => s.once('data', () => s.end('HTTP/1.1 503 Service Unavailable\r\n\r\n')))
    const sid = await rig.seed({ port: full.port })
    const inbox = await attach(rig, sid)
    await until(() => inbox.of('9').some((text) => text.includes('as many viewers as it takes')))
    await using free = await echoPod()
    await rig.endpoint(sid, free.port)
    inbox.socket.send(Buffer.from('0x'))
    expect(await until(() => inbox.of('0')[0])).toBe('x')
    await leave(inbox)
  })

  test('that refuses the assertion closes with 4401', async () => {
    await using pod = await rawPod((s) => s.once('data', () => s.end('HTTP/1.1 401 Unauthorized\r\n\r\n')))
    const sid = await rig.seed({ port: pod.port })
    const inbox = await attach(rig, sid)
    expect(await until(() => inbox.closed)).toMatchObject({ code: 4401 })
  })

  test('may send data right behind its 101, and its last data still arrives', async () => {
    await using pod = await rawPod((socket) => {
      socket.once('data', (head) => {
        socket.write(podAnswer(head.toString()))
        for (let i = 0; i < 200; i += 1) socket.write(binaryFrame(Buffer.from(`0line ${i}`.padEnd(4_000, '.'))))
        socket.end(closeFrame(1000, 'done'))
      })
    })
    const sid = await rig.seed({ port: pod.port })
    const inbox = await attach(rig, sid)
    expect(await until(() => inbox.closed)).toEqual({ code: 1000, reason: 'done' })
    expect(inbox.of('0')).toHaveLength(200)
    await until(() => pod.sockets.size === 0)
  })

  test.each<[string, (socket: Socket) => void]>([
    ['a reset', (socket) => socket.resetAndDestroy()],
    ['an end without a Close', (socket) => socket.end()],
  ])('that vanishes by %s takes its viewer’s connection with it', async (_name, vanish) => {
    let podSocket: Socket | undefined
    await using pod = await rawPod((socket) => {
      podSocket = socket
      socket.once('data', (head) => socket.write(podAnswer(head.toString())))
    })
    const sid = await rig.seed({ port: pod.port })
    const inbox = await attach(rig, sid)
    await until(() => rig.gateway.stats().open.spliced === 1)
    vanish(podSocket as Socket)
    expect(await until(() => inbox.closed)).toMatchObject({ code: 1006 })
    await until(() => pod.sockets.size === 0)
  })

  test('gets tty and no assertion when the image brings its own ttyd', async () => {
    await using pod = await echoPod()
    const sid = await rig.seed({ kind: 'ttyd', podUid: null, port: pod.port })
    const inbox = await attach(rig, sid, { protocols: ['cliscale.v1', 'tty'] })
    await until(() => pod.requests.length === 1)
    expect(pod.requests[0]?.headers['sec-websocket-protocol']).toBe('tty')
    expect(pod.requests[0]?.headers.authorization).toBeUndefined()
    await leave(inbox)
  })
})

describe('a viewer', () => {
  /** A bare TCP client that has its 101. */
  async function rawViewer(sid: string): Promise<Socket> {
    const socket = net.connect({ port: rig.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.on('error', () => undefined)
    socket.write(upgradeHead({ path: `/ws/${sid}?token=${await rig.token(sid)}`, host: rig.host }))
    await once(socket, 'readable')
    return socket
  }

  test('that closes its half is closed, whether it waits or is connected', async () => {
    const waiting = await rawViewer(await rig.seed({ status: 'queued' }))
    waiting.end()
    waiting.resume()
    await once(waiting, 'close')
    await using pod = await echoPod()
    const connected = await rawViewer(await rig.seed({ port: pod.port }))
    await until(() => rig.gateway.stats().open.spliced === 1)
    connected.end()
    connected.resume()
    await once(connected, 'close')
    await until(() => pod.sockets.size === 0)
    expect(rig.gateway.stats().open).toMatchObject({ waiting: 0, spliced: 0 })
  })

  test('that does not read fills no memory, and frees everything when it resets', async () => {
    const block = binaryFrame(Buffer.alloc(64 * 1024, '0'))
    let sent = 0
    await using pod = await rawPod((socket) => {
      socket.once('data', (head) => {
        socket.write(podAnswer(head.toString()))
        const flood = (): void => {
          while (!socket.destroyed && socket.write(block)) sent += block.length
          sent += block.length
        }
        socket.on('drain', flood)
        flood()
      })
    })
    const sid = await rig.seed({ port: pod.port })
    const viewers = await Promise.all(Array.from({ length: 10 }, () => rawViewer(sid)))
    for (const viewer of viewers) viewer.pause()
    await until(() => rig.gateway.stats().open.spliced === 10)
    let before = -1
    await until(async () => {
      const isStill = sent === before
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 200))
      return isStill
    }, 10_000)
    const rssBefore = process.memoryUsage().rss
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(sent).toBe(before)
    expect(process.memoryUsage().rss - rssBefore).toBeLessThan(20e6)
    for (const viewer of viewers) viewer.resetAndDestroy()
    await until(() => pod.sockets.size === 0)
  })

  test('that floods a pod which does not read, and then resets, is noticed', async () => {
    const metrics = createMetrics()
    await using stuck = await Rig.start(database, keys, { metrics, limits: { ...FAST, stallMs: 500 } })
    await using pod = await rawPod((socket) => {
      socket.once('data', (head) => {
        socket.pause()
        socket.write(podAnswer(head.toString()))
      })
    })
    const sid = await stuck.seed({ port: pod.port })
    const inbox = await attach(stuck, sid)
    await until(() => stuck.gateway.stats().open.spliced === 1)
    for (let i = 0; i < 400; i += 1) inbox.socket.send(Buffer.alloc(60_000, '0'))
    await new Promise((resolve) => setTimeout(resolve, 200))
    inbox.socket.terminate()
    expect(stuck.gateway.stats().open.spliced).toBe(1)
    await until(() => stuck.gateway.stats().open.spliced === 0)
    expect((await metrics.expose()).text).toContain('cliscale_ws_closed_total{cause="stalled"} 1')
  })

  test('that pastes into a pod which does not read is kept as long as the pod sends something', async () => {
    await using stuck = await Rig.start(database, keys, { limits: { ...FAST, stallMs: 300 } })
    await using pod = await rawPod((socket) => {
      socket.once('data', (head) => {
        socket.pause()
        socket.write(podAnswer(head.toString()))
        const heartbeat = setInterval(() => socket.write(Buffer.from([0x82, 1, 0x38])), 50)
        socket.once('close', () => clearInterval(heartbeat))
      })
    })
    const sid = await stuck.seed({ port: pod.port })
    const inbox = await attach(stuck, sid)
    await until(() => stuck.gateway.stats().open.spliced === 1)
    for (let i = 0; i < 400; i += 1) inbox.socket.send(Buffer.alloc(60_000, '0'))
    await new Promise((resolve) => setTimeout(resolve, 800))
    expect(stuck.gateway.stats().open.spliced).toBe(1)
    inbox.socket.terminate()
    await until(() => stuck.gateway.stats().open.spliced === 0)
  })

  test('whose access to a session is revoked is refused despite its cookie', async () => {
    const sid = await rig.seed({ status: 'queued' })
    const { cookie, viewer } = await rig.cookie(sid)
    await database.query('update session_viewers set revoked_at = now() where id = $1', [viewer])
    const ws = rig.open(sid, { headers: { cookie, origin: rig.origin } })
    const [error] = (await once(ws, 'error')) as [Error]
    expect(error.message).toContain('401')
  })
})

describe('a gateway that leaves', () => {
  test('keeps what is open, lets viewers come back, and keeps one-time tokens for another gateway', async () => {
    await using leaving = await Rig.start(database, keys, { limits: FAST })
    await using pod = await echoPod()
    const sid = await leaving.seed({ port: pod.port })
    const { cookie } = await leaving.cookie(sid)
    const open = await attach(leaving, sid)
    leaving.gateway.beginDrain()
    const late = await leaving.token(sid)
    const client = leaving.open(sid, { query: `?token=${late}` }).on('error', () => {})
    const [, refused] = (await once(client, 'unexpected-response')) as [unknown, IncomingMessage]
    expect([refused.statusCode, refused.headers['retry-after'], refused.headers.connection]).toEqual([
      503,
      '1',
      'close',
    ])
    refused.destroy()
    const { rows } = await database.query('select 1 from token_jti where session_id = $1', [sid])
    expect(rows).toHaveLength(1)
    // A link is exchanged for its cookie, which is valid at every gateway.
    const redeemed = await leaving.redeem(sid, late)
    expect([redeemed.status, redeemed.headers.get('connection')]).toEqual([200, 'close'])
    const back = new Inbox(leaving.open(sid, { headers: { cookie, origin: leaving.origin } }))
    await once(back.socket, 'open')
    for (const inbox of [open, back]) {
      inbox.socket.send(Buffer.from('0x'))
      expect(await until(() => inbox.of('0')[0])).toBe('x')
    }
    await Promise.all([leave(open), leave(back)])
  })
})

describe('a gateway that drains', () => {
  test('refuses new terminals, closes those that wait with 1012, and lets pods send their last data', async () => {
    await using ending = await Rig.start(database, keys, { limits: FAST })
    await using pod = await rawPod(
      (socket) => {
        socket.once('data', (head) => socket.write(podAnswer(head.toString())))
        socket.once('end', () => socket.end(closeFrame(1012, 'from the pod')))
      },
      { allowHalfOpen: true },
    )
    const connected = await attach(ending, await ending.seed({ port: pod.port }))
    const waiting = await attach(ending, await ending.seed({ status: 'queued' }))
    await until(() => ending.gateway.stats().open.spliced === 1)
    const late = await ending.seed()
    const token = await ending.token(late)
    const drained = ending.gateway.drain()
    connected.socket.send(Buffer.from('0typed while it ends'))
    const ws = ending.open(late, { query: `?token=${token}` })
    const [error] = (await once(ws, 'error')) as [Error]
    expect(error.message).toContain('503')
    await drained
    expect(await until(() => connected.closed)).toEqual({ code: 1012, reason: 'from the pod' })
    expect(await until(() => waiting.closed)).toMatchObject({ code: 1012 })
    const { rows } = await database.query('select 1 from token_jti where session_id = $1', [late])
    expect(rows).toHaveLength(1)
  })

  test('destroys what has not ended in time', async () => {
    await using ending = await Rig.start(database, keys, { limits: { ...FAST, drainMs: 200 } })
    await using pod = await rawPod((socket) => {
      socket.once('data', (head) => socket.write(podAnswer(head.toString())))
    })
    const inbox = await attach(ending, await ending.seed({ port: pod.port }))
    await until(() => ending.gateway.stats().open.spliced === 1)
    const at = Date.now()
    await ending.gateway.drain()
    expect(Date.now() - at).toBeLessThan(1_000)
    expect(await until(() => inbox.closed)).toMatchObject({ code: 1006 })
    expect(ending.gateway.stats().open).toMatchObject({ spliced: 0 })
  })
})
