import { describe, expect, test } from '@jest/globals'
import { encodeJson, HEARTBEAT_MS, ClientType } from '@cliscale/contract'
import { TestViewer, refusedUpgrade } from './terminal-client.ts'
import { EPOCH, EXIT_OK, eventually, openFixture, V1 } from './terminal-fixture.ts'

describe('a viewer of cliscale.v1', () => {
  test('gets HELLO, all output so far, what follows, EXIT and Close 1000', async () => {
    await using f = await openFixture()
    f.terminal.appendHost('stage\r\n')
    f.terminal.appendWork(0, Buffer.from('one\r\n'))
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    await v.untilText('one')
    f.terminal.appendWork(5, Buffer.from('two\r\n'))
    await v.untilText('two')
    f.terminal.end(EXIT_OK)
    await v.untilClosed()
    const hello = { epoch: EPOCH, seq: 0, columns: 120, rows: 40, role: 'rw', viewer: 'a', heartbeatMs: HEARTBEAT_MS }
    expect(v.hello).toEqual(hello)
    expect(v.text()).toBe('stage\r\none\r\ntwo\r\n')
    expect(v.exit).toEqual(EXIT_OK)
    expect(v.closed?.code).toBe(1000)
    expect(v.raw.every((m) => m.isBinary)).toBe(true)
    await eventually(() => f.left.length === 1, 'the viewer is reported')
    expect(f.left[0]).toMatchObject({
      viewer: 'a',
      mode: 'rw',
      protocol: 'cliscale.v1',
      sentBytes: 17,
      closeCode: 1000,
    })
  })

  test('that comes after the end gets everything, then EXIT', async () => {
    await using f = await openFixture()
    f.terminal.appendWork(0, Buffer.from('all of it'))
    f.terminal.end(EXIT_OK)
    await f.restart()
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'ro-b' }).open({})
    await v.untilClosed()
    expect([v.text(), v.exit, v.closed?.code]).toEqual(['all of it', EXIT_OK, 1000])
  })

  test('gets STATUS before its first message and on each change, and nothing else', async () => {
    await using f = await openFixture({ epoch: null })
    const status = {
      status: 'starting',
      stage: 'installing',
      since: '2026-01-01T00:00:00.000Z',
      reason: null,
      hint: null,
    } as const
    f.terminal.setStatus(status)
    f.terminal.appendHost('early')
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open()
    await v.until(() => v.messages.length === 1, 'the first status')
    await v.open({ columns: 80, rows: 24 })
    f.terminal.setStatus({ ...status, status: 'running', stage: 'running' })
    await v.until(() => v.messages.length === 2, 'the second status')
    expect(v.messages.map((m) => m.type)).toEqual(['status', 'status'])
    f.terminal.setEpoch(EPOCH)
    await v.untilText('early')
    expect(v.hello?.epoch).toBe(EPOCH)
  })

  test('that is read-only reaches the program with nothing that it sends', async () => {
    await using f = await openFixture({ limits: { resizeDebounceMs: 5, driverGraceMs: 5 } })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'ro-a' }).open({
      columns: 33,
      rows: 11,
    })
    v.type('rm -rf /\r')
    v.resize({ columns: 44, rows: 22 })
    v.type('\x1b[?1;2c')
    f.terminal.appendWork(0, Buffer.from('x'))
    await v.untilText('x')
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(f.typed()).toBe('')
    expect(f.sizes).toEqual([])
    expect(f.terminal.size).toEqual({ columns: 120, rows: 40 })
  })

  test('that sends a nonsense size changes nothing, and half of one keeps the other half', async () => {
    await using f = await openFixture({ limits: { resizeDebounceMs: 5, driverGraceMs: 5 } })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({
      columns: 200,
      rows: 50,
    })
    const until = async (columns: number, rows: number): Promise<void> =>
      v.until(() => JSON.stringify(f.terminal.size) === JSON.stringify({ columns, rows }), `${columns}x${rows}`)
    await until(200, 50)
    for (const none of [{ columns: 'x', rows: null }, { columns: 0, rows: 0 }, { columns: -1 }, { rows: '9' }])
      v.ws.send(encodeJson(ClientType.resize, none))
    v.ws.send(encodeJson(ClientType.resize, { columns: 90, rows: -5 }))
    await until(90, 50)
    expect(f.sizes).toEqual([
      { columns: 200, rows: 50 },
      { columns: 90, rows: 50 },
    ])
  })

  test('that may type learns who is the driver; one that was cut off drives again, and one that asks takes over', async () => {
    await using f = await openFixture({ limits: { resizeDebounceMs: 5, driverGraceMs: 5 } })
    const { port } = f.terminal
    const open = (assertion: string, columns: number, drives?: boolean): Promise<TestViewer> =>
      new TestViewer({ port, protocols: V1, assertion }).open({ columns, rows: 20, ...(drives && { drives }) })
    const told = (v: TestViewer): boolean[] => v.messages.flatMap((m) => (m.type === 'driver' ? [m.drives] : []))
    const a = await open('rw-a', 80)
    await a.until(() => told(a).length === 1, 'a drives')
    await using b = await open('rw-b', 90)
    await using ro = await open('ro-c', 20, true)
    await b.until(() => told(b).length === 1, 'b looks on')
    expect([told(a), told(b)]).toEqual([[true], [false]])
    a.ws.terminate()
    await b.until(() => told(b).at(-1) === true, 'b drives meanwhile')
    await using again = await open('rw-a', 80, true)
    await again.until(() => told(again).at(-1) === true, 'a drives again')
    await b.until(() => told(b).at(-1) === false, 'b knows')
    b.ws.send(encodeJson(ClientType.resize, { columns: 91, rows: 20, take: true }))
    await again.until(() => told(again).at(-1) === false, 'b took it')
    await eventually(() => f.terminal.size.columns === 91, 'the size of b')
    expect(told(ro)).toEqual([])
  })

  test('that is revoked is closed with 4401 and stays out', async () => {
    await using f = await openFixture()
    await using a = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    await using b = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-b' }).open({})
    await a.until(() => a.hello !== undefined, 'hello')
    f.terminal.revoke('a')
    await a.untilClosed()
    await using again = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open()
    await again.untilClosed()
    expect([a.closed?.code, again.closed?.code, b.closed]).toEqual([4401, 4401, undefined])
  })
})

describe('an upgrade', () => {
  test('without a valid assertion is refused by HTTP before the 101', async () => {
    await using f = await openFixture()
    const { port } = f.terminal
    for (const assertion of [undefined, 'nonsense', 'rw']) {
      const refused = await refusedUpgrade({ port, protocols: V1, ...(assertion === undefined ? {} : { assertion }) })
      expect(refused.status).toBe(401)
      expect(JSON.parse(refused.body)).toMatchObject({ status: 401 })
    }
    expect((await refusedUpgrade({ port, protocols: V1, assertion: 'rw-a', path: '/ws/x' })).status).toBe(404)
    expect((await refusedUpgrade({ port, protocols: ['other'], assertion: 'rw-a' })).status).toBe(400)
    expect((await fetch(`http://127.0.0.1:${port}/ws`)).status).toBe(426)
    expect((await fetch(`http://127.0.0.1:${port}/etc/passwd`)).status).toBe(404)
  })
})
