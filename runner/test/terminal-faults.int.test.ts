import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { AppError, type AttachClaims, ClientType, encodeBytes } from '@cliscale/contract'
import { refusedUpgrade, TestViewer } from './terminal-client.ts'
import { eventually, openFixture, V1, verifyForTest } from './terminal-fixture.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** A client that writes bytes of its own choice. */
class RawClient {
  readonly socket: net.Socket
  received = Buffer.alloc(0)
  ended = false
  closed = false

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.socket.on('error', () => {})
    this.socket.on('data', (data: Buffer) => (this.received = Buffer.concat([this.received, data])))
    this.socket.on('end', () => (this.ended = true))
    this.socket.on('close', () => (this.closed = true))
  }

  request(headers: Record<string, string | undefined> = {}, line = 'GET /ws HTTP/1.1'): void {
    const all: Record<string, string | undefined> = {
      Host: 'x',
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': KEY,
      'Sec-WebSocket-Protocol': 'cliscale.v1',
      Authorization: 'Bearer rw-raw',
      ...headers,
    }
    const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]))
    this.socket.write(`${line}\r\n${lines.join('')}\r\n`)
  }

  get head(): string {
    return this.received.toString('latin1').split('\r\n\r\n')[0] ?? ''
  }
  /** The code of the last Close; undefined when the stream does not end with one. */
  get closeCode(): number | undefined {
    for (let at = this.received.length - 4; at >= 0; at--) {
      const length = this.received[at + 1] ?? 0
      if (this.received[at] === 0x88 && at + 2 + length === this.received.length)
        return this.received.readUInt16BE(at + 2)
    }
    return undefined
  }

  async upgraded(): Promise<this> {
    this.request()
    await eventually(() => this.head.startsWith('HTTP/1.1 101'), '101')
    return this
  }
}

/** A masked frame of a client. */
function frame(first: number, body: Buffer, length = body.length): Buffer {
  const head =
    length < 126 ? [first, 0x80 | length] : length < 65536 ? [first, 0xfe, length >> 8, length & 255] : [first, 0xff]
  const long = Buffer.alloc(length < 65536 ? 0 : 8)
  if (long.length > 0) long.writeBigUInt64BE(BigInt(length))
  return Buffer.concat([Buffer.from(head), long, Buffer.alloc(4), body])
}

describe('an upgrade', () => {
  const REFUSED: readonly (readonly [string, number, Record<string, string | undefined>, string?])[] = [
    ['version 8', 426, { 'Sec-WebSocket-Version': '8' }],
    ['no version', 426, { 'Sec-WebSocket-Version': undefined }],
    ['another protocol', 426, { Upgrade: 'h2c' }],
    ['no key', 400, { 'Sec-WebSocket-Key': undefined }],
    ['a key of 15 bytes', 400, { 'Sec-WebSocket-Key': 'MTIzNDU2Nzg5MDEyMzQ1' }],
    ['a comma subprotocol', 400, { 'Sec-WebSocket-Protocol': 'bearer,' }],
    ['a broken list that has ours', 400, { 'Sec-WebSocket-Protocol': 'tty,,b@d' }],
    ['no assertion', 401, { Authorization: undefined }],
    ['basic credentials', 401, { Authorization: 'Basic cnc6eA==' }],
    ['a huge assertion', 401, { Authorization: `Bearer ${'a'.repeat(8000)}` }],
    ['another path', 404, {}, 'GET /ws/../etc HTTP/1.1'],
    ['a full URL', 404, {}, 'GET http://x/ws HTTP/1.1'],
    ['POST', 405, {}, 'POST /ws HTTP/1.1'],
    ['a huge head', 431, { 'X-Much': 'x'.repeat(20_000) }],
  ]
  test.each(REFUSED.map((row) => [row[0], row[1], row] as const))(
    'with %s gets %i by HTTP and is closed',
    async (_, status, row) => {
      const [, , headers, line] = row
      await using f = await openFixture()
      const client = new RawClient(f.terminal.port)
      client.request(headers, line)
      await eventually(() => client.ended, 'the end of the answer')
      expect(client.head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
      client.socket.end()
      await eventually(() => client.closed, 'the close')
    },
  )

  test('by one viewer too many gets 503 before the 101, and a place that becomes free can be used again', async () => {
    await using f = await openFixture({ limits: { viewers: 2 } })
    const { port } = f.terminal
    const open = (): Promise<TestViewer> => new TestViewer({ port, protocols: V1, assertion: 'rw-a' }).open({})
    await using first = await open()
    await using second = await open()
    const refused = await refusedUpgrade({ port, protocols: V1, assertion: 'rw-a' })
    expect([refused.status, JSON.parse(refused.body)]).toEqual([
      503,
      expect.objectContaining({ code: 'too_many_connections' }),
    ])
    await first[Symbol.asyncDispose]()
    await eventually(() => f.left.length === 1, 'the place')
    await using third = await open()
    await third.until(() => third.hello !== undefined, 'hello')
    expect(second.closed).toBeUndefined()
  })

  test('whose assertion cannot be checked in time, or for lack of keys, gets 503', async () => {
    let pending = (): void => {}
    await using f = await openFixture({
      limits: { verifyMs: 50 },
      verify: (assertion) =>
        assertion === 'rw-keys'
          ? Promise.reject(new AppError('keys_unavailable', { detail: 'no keys' }))
          : new Promise((resolve) => (pending = () => resolve({ sid: 's', mode: 'rw', viewer: 'x' }))),
    })
    for (const assertion of ['rw-slow', 'rw-keys'])
      expect((await refusedUpgrade({ port: f.terminal.port, protocols: V1, assertion })).status).toBe(503)
    pending()
  })

  test('beyond the number that is checked at once gets 503', async () => {
    const claims: ((claims: AttachClaims) => void)[] = []
    await using f = await openFixture({
      limits: { pendingUpgrades: 1 },
      verify: () => new Promise((resolve) => claims.push(resolve)),
    })
    const waiting = new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' })
    await eventually(() => claims.length === 1, 'the first check')
    expect((await refusedUpgrade({ port: f.terminal.port, protocols: V1, assertion: 'rw-b' })).status).toBe(503)
    claims[0]?.({ sid: 's', mode: 'rw', viewer: 'a' })
    await waiting.open({})
    await waiting.until(() => waiting.hello !== undefined, 'hello')
    await waiting[Symbol.asyncDispose]()
  })

  test.each([
    ['resets', (c: RawClient) => void c.socket.resetAndDestroy()],
    ['ends', (c: RawClient) => void c.socket.end()],
    [
      'sends more than is kept and resets',
      (c: RawClient) => void c.socket.write(Buffer.alloc(300_000), () => c.socket.resetAndDestroy()),
    ],
  ])('of a client that %s while it is checked leaves nothing', async (_, leave) => {
    let release = (): void => {}
    await using f = await openFixture({
      verify: (assertion) => new Promise((resolve) => (release = () => resolve(verifyForTest(assertion)))),
    })
    const client = new RawClient(f.terminal.port)
    client.request()
    await sleep(30)
    leave(client)
    await sleep(30)
    release()
    await eventually(() => client.closed, 'the close')
    expect([client.received.length, f.left]).toEqual([0, []])
  })

  test('keeps what the client sent before the 101', async () => {
    await using f = await openFixture({ verify: async (assertion) => sleep(50).then(() => verifyForTest(assertion)) })
    f.terminal.appendWork(0, Buffer.from('output'))
    const client = new RawClient(f.terminal.port)
    client.request()
    client.socket.write(frame(0x82, Buffer.from('{}')))
    await sleep(20)
    client.socket.write(Buffer.concat([frame(0x82, Buffer.from('0one ')), frame(0x82, Buffer.from('0two'))]))
    await eventually(() => client.received.includes('output') && f.typed() === 'one two', 'output and input')
    client.socket.destroy()
    await eventually(() => f.left.length === 1, 'the end')
    expect(client.head).toMatch(/^HTTP\/1.1 101 /)
  })
})

describe('a client that breaks the rules', () => {
  const TOO_LONG = 64 * 1024 + 2
  const FRAMES: readonly (readonly [string, number, Buffer])[] = [
    ['an unmasked frame', 1002, Buffer.from([0x82, 0x02, 0x7b, 0x7d])],
    ['a reserved bit', 1002, frame(0xc2, Buffer.from('{}'))],
    ['a reserved opcode', 1002, frame(0x83, Buffer.from('{}'))],
    ['a message of 64 KiB and more', 1009, frame(0x82, Buffer.alloc(TOO_LONG, '0'))],
    ['the head of a frame of 4 GiB', 1009, frame(0x82, Buffer.alloc(0), 2 ** 32)],
    ['text that is not UTF-8', 1007, frame(0x81, Buffer.from([0x30, 0xff, 0xfe]))],
    [
      'a thousand fragments',
      1008,
      Buffer.concat([
        frame(0x02, Buffer.from('0')),
        ...Array.from({ length: 1000 }, () => frame(0x00, Buffer.from('x'))),
      ]),
    ],
    ['input before its first message', 1002, frame(0x82, Buffer.from('0ls'))],
  ]
  test.each(FRAMES)('with %s is closed with %i', async (_, code, bytes) => {
    await using f = await openFixture({ limits: { closeMs: 200 } })
    const client = await new RawClient(f.terminal.port).upgraded()
    client.socket.write(bytes)
    await eventually(() => client.closeCode !== undefined, 'a Close')
    expect(client.closeCode).toBe(code)
    client.socket.end()
    await eventually(() => client.closed && f.left.length === 1, 'the end')
    expect(f.typed()).toBe('')
  })

  test('with nonsense sizes gets whole sizes within the limits', async () => {
    await using f = await openFixture({ limits: { resizeDebounceMs: 1 } })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({
      columns: 80,
      rows: 24,
    })
    await eventually(() => f.terminal.size.columns === 80, 'the first size')
    for (const [message, expected] of [
      ['1{"columns":-1,"rows":1000000000}', { columns: 80, rows: 500 }],
      ['1{"columns":70000,"rows":0}', { columns: 1000, rows: 500 }],
      ['1{"columns":90.9,"rows":"24"}', { columns: 90, rows: 500 }],
    ] as const) {
      v.ws.send(Buffer.from(message))
      await eventually(() => JSON.stringify(f.terminal.size) === JSON.stringify(expected), message)
    }
    expect(f.sizes.at(-1)).toEqual({ columns: 90, rows: 500 })
  })

  test('by typing more than 64 KiB a second is slowed down without loss, and other viewers are not', async () => {
    await using f = await openFixture({ limits: { inputBytesPerSecond: 200_000 } })
    const { port } = f.terminal
    await using fast = await new TestViewer({ port, protocols: V1, assertion: 'rw-a' }).open({})
    await using other = await new TestViewer({ port, protocols: V1, assertion: 'rw-b' }).open({})
    const start = performance.now()
    for (let i = 0; i < 20; i++) fast.type('x'.repeat(30_000))
    await sleep(100)
    other.type('y')
    await eventually(() => f.typed().includes('y'), 'the other', 500)
    await eventually(() => f.typed().length === 600_001, 'all input', 10_000)
    expect(performance.now() - start).toBeGreaterThan(1_500)
    expect(fast.closed).toBeUndefined()
  })

  test('by a flood of pings whose answers it does not read is dropped, and costs no memory', async () => {
    await using f = await openFixture()
    const client = await new RawClient(f.terminal.port).upgraded()
    client.socket.pause()
    const pings = Buffer.concat(Array.from({ length: 500 }, () => frame(0x89, Buffer.alloc(125))))
    const before = process.memoryUsage().rss
    const until = performance.now() + 1500
    while (!client.closed && performance.now() < until) {
      if (!client.socket.write(pings)) await Promise.race([once(client.socket, 'drain').catch(() => {}), sleep(50)])
    }
    expect((process.memoryUsage().rss - before) / 1024 ** 2).toBeLessThan(40)
    client.socket.destroy()
    await eventually(() => f.left.length === 1, 'the end')
  })

  test('by silence after the 101 loses its place', async () => {
    await using f = await openFixture({ limits: { helloMs: 50, heartbeatMs: 40 } })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open()
    await v.untilClosed()
    expect(v.closed?.code).toBe(1008)
  })

  test('by answering no ping is dropped, and a client that answers is not', async () => {
    await using f = await openFixture({ limits: { pingMs: 60, silenceMs: 250, heartbeatMs: 40 } })
    const dead = await new RawClient(f.terminal.port).upgraded()
    dead.socket.write(frame(0x82, Buffer.from('{}')))
    await using alive = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    await eventually(() => dead.closed || dead.ended, 'the drop')
    dead.socket.destroy()
    expect(alive.closed).toBeUndefined()
    expect(alive.messages.filter((m) => m.type === 'heartbeat').length).toBeGreaterThan(1)
  })
})

describe('closing', () => {
  test('by a half-close is answered with Close 1012 after whole messages, and both sides finish', async () => {
    await using f = await openFixture()
    f.terminal.appendWork(0, Buffer.alloc(200_000, 'x'))
    const client = await new RawClient(f.terminal.port).upgraded()
    client.socket.write(frame(0x82, Buffer.from('{}')))
    await eventually(() => client.received.length > 200_000, 'the output')
    client.socket.end()
    await eventually(() => client.ended && client.closed, 'the end')
    expect(client.closeCode).toBe(1012)
    await eventually(() => f.left.length === 1, 'the viewer has left')
  })

  test('the terminal closes viewers with 1012, refuses new ones and stops listening', async () => {
    await using f = await openFixture({ limits: { closeMs: 300 } })
    const { port } = f.terminal
    await using v = await new TestViewer({ port, protocols: V1, assertion: 'rw-a' }).open({})
    await using stuck = await new RawClient(port).upgraded().then((client) => ({
      client,
      [Symbol.asyncDispose]: async () => void client.socket.destroy(),
    }))
    stuck.client.socket.pause()
    const start = performance.now()
    await f.terminal[Symbol.asyncDispose]()
    expect(performance.now() - start).toBeLessThan(2_000)
    await v.untilClosed()
    expect(v.closed?.code).toBe(1012)
    const late = new TestViewer({ port, protocols: V1, assertion: 'rw-a' })
    await late.untilClosed()
    expect(late.ws.protocol).toBe('')
  })

  test('a taken port is an error, and leaves nothing open', async () => {
    await using f = await openFixture()
    const listen = { host: '127.0.0.1', port: f.terminal.port }
    await expect(openFixture({ listen })).rejects.toThrow(/EADDRINUSE/)
  })

  test('200 clients that connect and leave in six ways leave no socket and no timer', async () => {
    await using f = await openFixture({ limits: { resizeDebounceMs: 1, driverGraceMs: 1, closeMs: 50 } })
    f.terminal.appendWork(0, Buffer.alloc(600_000, 'x'))
    const before = { sockets: active('TCPSocketWrap'), timers: active('Timeout') }
    const clients: RawClient[] = []
    for (let round = 0; round < 25; round++) {
      const some = Array.from({ length: 8 }, () => new RawClient(f.terminal.port))
      clients.push(...some)
      await Promise.all(some.map(leaveSomehow))
    }
    const upgraded = 25 * 5
    await eventually(() => f.left.length >= upgraded, 'the host to let go of all')
    // What a client keeps open is its own business; the host's ends must close by themselves.
    for (const client of clients) client.socket.destroy()
    // At most as many: what earlier tests or Jest itself had open may have closed meanwhile.
    await eventually(() => active('TCPSocketWrap') <= before.sockets, 'no socket')
    await eventually(() => active('Timeout') <= before.timers, 'no timer')
    expect(active('TCPSocketWrap')).toBeLessThanOrEqual(before.sockets)
  }, 60_000)
})

/** How many resources of a kind keep this process alive. */
function active(kind: string): number {
  return process.getActiveResourcesInfo().filter((each) => each === kind).length
}

async function leaveSomehow(client: RawClient, how: number): Promise<void> {
  if (how === 0) return void client.socket.write('GET /ws HT', () => client.socket.destroy())
  if (how === 1) {
    client.request()
    return void client.socket.resetAndDestroy()
  }
  client.request()
  if (how === 2) return void client.socket.end()
  await eventually(() => client.head.startsWith('HTTP/1.1 101'), '101')
  if (how === 3) return void client.socket.resetAndDestroy()
  client.socket.pause()
  client.socket.write(frame(0x82, Buffer.from('{"columns":80,"rows":24}')))
  client.socket.write(frame(0x82, Buffer.from(encodeBytes(ClientType.input, Buffer.alloc(10_000, 'y')))))
  if (how === 4) return void setTimeout(() => client.socket.resetAndDestroy(), 5)
  if (how === 5) return void client.socket.end()
  client.socket.write(frame(0x88, Buffer.from([0x03, 0xe8])))
  client.socket.resume()
  await eventually(() => client.ended, 'the end')
  client.socket.end()
}
