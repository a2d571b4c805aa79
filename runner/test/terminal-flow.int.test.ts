import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from '@jest/globals'
import { ClientType, MAX_REPLAY_BYTES, VIEWER_WINDOW_BYTES } from '@cliscale/contract'
import type { SessionTerminal } from '../src/host/terminal-types.ts'
import { TestViewer } from './terminal-client.ts'
import { EPOCH, EXIT_OK, eventually, openFixture, V1 } from './terminal-fixture.ts'

const MIB = 1024 * 1024

/** Appends `total` bytes of numbered lines as fast as the host takes them. */
async function flood(terminal: SessionTerminal, total: number, step = 64 * 1024): Promise<string> {
  const hash = createHash('sha256')
  let line = 0
  for (let sent = 0; sent < total;) {
    let text = ''
    while (text.length < step) text += `line ${line++} ${'.'.repeat(line % 60)}\r\n`
    const bytes = Buffer.from(text)
    hash.update(bytes)
    terminal.appendWork(terminal.workOffset, bytes)
    sent += bytes.length
    await terminal.ready()
    // As with a socket: the event loop gets its turn between two reads.
    await new Promise((resolve) => setImmediate(resolve))
  }
  return hash.digest('hex')
}

/** Memory that is held after a collection. RSS also contains what the collector has not reached. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

describe('a viewer that comes back', () => {
  test('gets exactly the bytes of the program over 30 cuts and a restart of the host', async () => {
    await using f = await openFixture()
    const parts: Buffer[] = []
    const starts: [number, number][] = []
    let position = 0
    let done = false
    const program = (async () => {
      const hash = createHash('sha256')
      for (let i = 0; i < 900; i++) {
        const bytes = Buffer.from(`${i} ${'漢字é'.repeat(i % 50)}\r\n`)
        hash.update(bytes)
        f.terminal.appendWork(f.terminal.workOffset, bytes)
        await sleep(2)
        if (i === 450) await f.restart()
      }
      done = true
      return hash.digest('hex')
    })()
    let cuts = 0
    while (!done || position < f.terminal.head) {
      const hello = position === 0 ? {} : { epoch: EPOCH, have: position }
      await using v = new TestViewer({
        port: f.terminal.port,
        protocols: V1,
        assertion: 'rw-a',
        onMessage: (m) => {
          if (m.type === 'hello') starts.push([m.hello.seq, position])
          if (m.type !== 'data') return
          parts.push(Buffer.from(m.bytes))
          position += m.bytes.length
        },
      })
      v.ws.on('open', () => void v.open(hello))
      await sleep(20 + ((cuts * 37) % 60))
      cuts++
    }
    expect(cuts).toBeGreaterThanOrEqual(30)
    expect(starts.filter(([seq, have]) => seq !== have)).toEqual([])
    expect(createHash('sha256').update(Buffer.concat(parts)).digest('hex')).toBe(await program)
  })

  test.each([
    ['another epoch', { epoch: 'other', have: 3 }, 0],
    ['more than there is', { epoch: EPOCH, have: 7 }, 0],
    ['no epoch', { have: 3 }, 0],
    ['a negative offset', { epoch: EPOCH, have: -1 }, 0],
    ['half an offset', { epoch: EPOCH, have: 2.5 }, 0],
    ['what it has', { epoch: EPOCH, have: 3 }, 3],
    ['all there is', { epoch: EPOCH, have: 6 }, 6],
  ])('with %s starts where that is certain to be right', async (_, wish, seq) => {
    await using f = await openFixture()
    f.terminal.appendWork(0, Buffer.from('abcdef'))
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open(wish)
    await v.until(() => v.position === 6, 'the head')
    expect([v.hello?.seq, v.text()]).toEqual([seq, 'abcdef'.slice(seq)])
  })

  test('after too long gets a snapshot and then the rest', async () => {
    await using f = await openFixture()
    await flood(f.terminal, MIB)
    const have = f.terminal.head
    await flood(f.terminal, MAX_REPLAY_BYTES + MIB)
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({
      epoch: EPOCH,
      have,
    })
    await v.until(() => v.position === f.terminal.head, 'the head')
    expect(v.messages.filter((m) => m.type === 'snapshot').length).toBe(1)
    expect(v.hello?.seq).toBe(have)
  })
})

describe('a viewer with its own window', () => {
  test('that does not acknowledge is sent the window and no more, then resumes', async () => {
    await using f = await openFixture()
    await flood(f.terminal, 2 * MIB)
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a', acks: false }).open(
      {},
    )
    await v.until(() => v.position === VIEWER_WINDOW_BYTES, 'the window')
    await sleep(100)
    expect(v.position).toBe(VIEWER_WINDOW_BYTES)
    v.ws.send(Buffer.from(`4{"seq":${VIEWER_WINDOW_BYTES * 4}}`)) // more than it has: no
    v.ws.send(Buffer.from('4{"seq":1e99}'))
    v.ws.send(Buffer.from('4{"seq":"1"}'))
    v.ws.send(Buffer.from('4'))
    await sleep(50)
    expect(v.position).toBe(VIEWER_WINDOW_BYTES)
    v.ack()
    await v.until(() => v.position > VIEWER_WINDOW_BYTES, 'more, when that was acknowledged')
  })

  test('that is behind sees the end at once when a key interrupts the program; one that is not behind sees each byte', async () => {
    await using f = await openFixture()
    const { port } = f.terminal
    const open = (acks: boolean): Promise<TestViewer> =>
      new TestViewer({ port, protocols: V1, assertion: 'rw-a', acks }).open({})
    await using behind = await open(false)
    await using near = await open(true)
    await flood(f.terminal, MIB)
    await behind.until(() => behind.position === VIEWER_WINDOW_BYTES, 'the window')
    await near.until(() => near.position === f.terminal.head, 'the head')
    const before = near.bytes().length
    near.type('\x03')
    f.terminal.appendWork(f.terminal.workOffset, Buffer.from(`${'y'.repeat(50_000)}^C$ `))
    await behind.until(() => behind.messages.some(({ type }) => type === 'snapshot'), 'a snapshot', 20_000)
    behind.ack()
    const acks = setInterval(() => behind.ack(), 10)
    await behind.until(() => behind.position === f.terminal.head, 'the head')
    clearInterval(acks)
    await near.until(() => near.position === f.terminal.head, 'the head')
    const snapshot = behind.messages.findLast((message) => message.type === 'snapshot')
    expect(Buffer.concat([snapshot!.bytes, behind.bytes()]).toString()).toContain('^C$ ')
    expect(near.bytes().length - before).toBe(50_004)
  })

  test.each([['tty'], ['cliscale.v1']])(
    'of %s that pauses gets nothing, and exactly the rest when it resumes',
    async (protocol) => {
      await using f = await openFixture()
      f.terminal.appendWork(0, Buffer.from('before '))
      await using v = await new TestViewer({ port: f.terminal.port, protocols: [protocol], assertion: 'rw-a' }).open({})
      await v.untilText('before ')
      v.sendByte(ClientType.pause)
      v.sendByte(ClientType.pause)
      await sleep(30)
      f.terminal.appendWork(7, Buffer.from('while '))
      await sleep(50)
      expect(v.text()).toBe('before ')
      v.sendByte(ClientType.resume)
      await v.untilText('before while ')
      v.sendByte(ClientType.resume)
      f.terminal.appendWork(13, Buffer.from('after'))
      await v.untilText('before while after')
      expect(v.text()).toBe('before while after')
    },
  )

  test('of tty is held back only by its connection, and misses nothing', async () => {
    await using f = await openFixture()
    await using v = await new TestViewer({ port: f.terminal.port, protocols: ['tty'], assertion: 'rw-a' }).open({})
    await v.until(() => v.messages.length >= 2, 'the start')
    v.ws.pause()
    const sum = await flood(f.terminal, 3 * MIB)
    v.ws.resume()
    await v.until(() => v.bytes().length === f.terminal.head, 'the head')
    expect(createHash('sha256').update(v.bytes()).digest('hex')).toBe(sum)
  })

  test('that stops reading costs bounded memory, and costs the program and other viewers nothing', async () => {
    await using f = await openFixture()
    const { port } = f.terminal
    const stalled = await Promise.all(
      [V1, ['tty']].map((protocols) => new TestViewer({ port, protocols, assertion: 'rw-slow', acks: true }).open({})),
    )
    for (const v of stalled) {
      await v.until(() => v.messages.length > 0, 'the start')
      v.ws.pause()
    }
    let bytes = 0
    const hash = createHash('sha256')
    await using good = await new TestViewer({
      port,
      protocols: V1,
      assertion: 'rw-good',
      onMessage: (m) => {
        if (m.type !== 'data') return
        bytes += m.bytes.length
        hash.update(m.bytes)
        good.output = []
      },
    }).open({})
    await flood(f.terminal, 4 * MIB)
    await good.until(() => good.position === f.terminal.head, 'the first part')
    const before = heldBytes()
    const start = performance.now()
    await flood(f.terminal, 16 * MIB)
    const ms = performance.now() - start
    await good.until(() => good.position === f.terminal.head, 'the head', 20_000)
    // The stalled viewers are still connected; each has left 16 MiB unread.
    const held = (heldBytes() - before) / MIB
    expect(held).toBeLessThan(8)
    expect(ms).toBeLessThan(30_000)
    expect(good.messages.filter((m) => m.type === 'snapshot').length === 0 ? bytes : f.terminal.head).toBe(
      f.terminal.head,
    )
    for (const v of stalled) {
      v.ws.resume()
      if (v.ws.protocol === V1[0])
        await v.until(() => v.position === f.terminal.head, 'the head after the stall', 20_000)
      else await v.untilText('line ', 20_000)
      await v[Symbol.asyncDispose]()
    }
  }, 60_000)

  test('gets UTF-8 unchanged that is split over appends and messages', async () => {
    await using f = await openFixture()
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    await using t = await new TestViewer({ port: f.terminal.port, protocols: ['tty'], assertion: 'rw-a' }).open({})
    const text = Buffer.from('é漢👩‍💻🇩🇪'.repeat(20))
    for (let i = 0; i < text.length; i++) {
      f.terminal.appendWork(i, text.subarray(i, i + 1))
      if (i % 3 === 0) await sleep(1)
    }
    for (const each of [v, t]) {
      await each.until(() => each.bytes().length === text.length, 'all bytes')
      expect(each.text()).toBe(text.toString())
    }
    expect(v.raw.filter((m) => m.data[0] === 0x30).length).toBeGreaterThan(20)
  })
})

describe('a full journal', () => {
  test('costs a viewer that keeps up nothing; a late one sees the marker or the screen', async () => {
    await using f = await openFixture({ spoolMaxBytes: 300_000 })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    const hash = await flood(f.terminal, MIB)
    await v.until(() => v.position === f.terminal.head, 'the head')
    const seen = v.bytes()
    const start = seen.indexOf('\r\n\x1b[0m[cliscale] Output from here')
    const end = seen.indexOf('still shown live.\r\n') + 'still shown live.\r\n'.length
    const program = Buffer.concat([seen.subarray(0, start), seen.subarray(end)])
    expect(createHash('sha256').update(program).digest('hex')).toBe(hash)
    expect(start).toBeGreaterThan(290_000)
    const kept = await f.terminal.readOutput(start, 1000)
    expect(Buffer.from(kept?.bytes ?? []).toString()).toContain('is not kept')
    expect(await f.terminal.readOutput(end, 10)).toBeUndefined()
    const head = f.terminal.head
    f.terminal.end(EXIT_OK)
    await f.restart()
    expect([f.terminal.head, f.terminal.ended]).toEqual([head, EXIT_OK])
    await using late = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    await late.untilClosed()
    expect([late.position, late.exit, late.closed?.code]).toEqual([head, EXIT_OK, 1000])
  })

  test('costs a viewer that is behind only the gap: it resumes from a snapshot', async () => {
    await using f = await openFixture({ spoolMaxBytes: 100_000 })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a', acks: false }).open(
      {},
    )
    await flood(f.terminal, 3.5 * MIB)
    await v.until(() => v.position >= VIEWER_WINDOW_BYTES, 'the window')
    v.ack()
    await eventually(() => v.messages.some((m) => m.type === 'snapshot'), 'a snapshot')
    await v.until(() => v.position === f.terminal.head, 'the head')
    expect(v.from).toBeGreaterThan(VIEWER_WINDOW_BYTES)
  })
})

describe('drained', () => {
  test('resolves when viewers have everything and have closed, or at the time limit', async () => {
    await using f = await openFixture()
    await using good = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    await flood(f.terminal, MIB)
    await f.terminal.drained(5_000)
    await good.until(() => good.position === f.terminal.head, 'the head')
    await using silent = await new TestViewer({
      port: f.terminal.port,
      protocols: V1,
      assertion: 'rw-b',
      acks: false,
    }).open({})
    await silent.until(() => silent.position === VIEWER_WINDOW_BYTES, 'the window')
    f.terminal.end(EXIT_OK)
    f.terminal.end({ ...EXIT_OK, exitCode: 1 })
    const start = performance.now()
    await f.terminal.drained(300)
    expect(performance.now() - start).toBeGreaterThan(290)
    expect([good.closed?.code, good.exit?.exitCode, silent.exit]).toEqual([1000, 0, undefined])
    silent.ack()
    const drained = f.terminal.drained(5_000)
    const acks = setInterval(() => silent.ack(), 10)
    await drained
    clearInterval(acks)
    expect([silent.exit, silent.closed?.code]).toEqual([EXIT_OK, 1000])
    expect(() => f.terminal.appendHost('late')).toThrow(TypeError)
  })
})
