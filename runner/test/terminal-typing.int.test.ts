import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { encodeTyped, INPUT_WINDOW_BYTES, type InputProgress, type TypedHead } from '@cliscale/contract'
import { Typing } from '../src/host/typing.ts'
import type { TypedPiece } from '../src/relay/frames.ts'
import { TestViewer } from './terminal-client.ts'
import { eventually, openFixture, V1 } from './terminal-fixture.ts'

/** A work that this test controls: what arrived is in `pieces`, and is taken when the test says so. */
class Program {
  readonly typing: Typing
  readonly pieces: TypedPiece[] = []
  readonly received = new Map<string, number>()

  constructor(isFirstLife = true) {
    this.typing = new Typing({ isFirstLife })
  }

  connect(progress: Parameters<Typing['connect']>[1] = []): this {
    this.typing.connect(
      {
        typed: (piece) => {
          this.pieces.push(piece)
          this.received.set(piece.stream, piece.at + piece.bytes.length)
        },
      },
      progress,
    )
    return this
  }

  get text(): string {
    return Buffer.concat(this.pieces.map(({ bytes }) => Buffer.from(bytes))).toString()
  }

  /** The program reads everything there is. */
  take(): void {
    for (const [stream, received] of this.received) {
      this.typing.onProgress({ stream, received, taken: received, dropped: 0, isLineCut: false })
    }
  }
}

const progressOf = (v: TestViewer): InputProgress[] =>
  v.messages.flatMap((message) => (message.type === 'progress' ? [message.progress] : []))
const send = (v: TestViewer, head: TypedHead, text: string): void => v.ws.send(encodeTyped(head, Buffer.from(text)))

describe('what a viewer types without offsets', () => {
  test.each([['cliscale.v1'], ['tty']])(
    '(%s) waits for a program that does not read, without loss',
    async (protocol) => {
      const program = new Program().connect()
      await using f = await openFixture({
        typing: program.typing,
        limits: { silenceMs: 2_000, pingMs: 500, heartbeatMs: 100 },
      })
      const { port } = f.terminal
      await using v = await new TestViewer({ port, protocols: [protocol], assertion: 'rw-a' }).open({})
      await using other = await new TestViewer({ port, protocols: V1, assertion: 'rw-b' }).open({})
      const sent = Array.from({ length: 400 }, (_, i) => String(i).padStart(10_000, '.'))
      for (const text of sent) v.type(text)
      await eventually(() => program.text.length > INPUT_WINDOW_BYTES, 'a window')
      await sleep(3_000) // longer than the silence that a viewer may keep
      expect(program.text.length).toBeLessThan(2 * INPUT_WINDOW_BYTES + 20_000)
      expect(v.closed).toBeUndefined()
      other.type('!')
      await eventually(() => program.text.includes('!'), 'the other')
      f.terminal.appendWork(f.terminal.workOffset, Buffer.from('output'))
      await v.untilText('output')
      const reading = setInterval(() => program.take(), 1)
      await eventually(() => program.text.length === 4_000_001, 'all of it', 20_000)
      clearInterval(reading)
      expect(program.text.replace('!', '')).toBe(sent.join(''))
    },
  )

  test('waits for work, and nothing more is read meanwhile', async () => {
    const program = new Program()
    await using f = await openFixture({ typing: program.typing })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    v.type('early')
    for (let i = 0; i < 300; i++) v.type('x'.repeat(10_000))
    await sleep(200)
    program.connect()
    expect(program.text.startsWith('early')).toBe(true)
    expect(program.text.length).toBeLessThan(2 * INPUT_WINDOW_BYTES + 20_000)
  })

  test('is kept when the viewer leaves in the middle of it', async () => {
    const program = new Program()
    await using f = await openFixture({ typing: program.typing, limits: { pingMs: 50, heartbeatMs: 100 } })
    const v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion: 'rw-a' }).open({})
    for (let i = 0; i < 20; i++) v.type('x'.repeat(10_000))
    await sleep(100)
    await v[Symbol.asyncDispose]()
    await eventually(() => f.left.length === 1, 'left')
    program.connect()
    expect(program.text.length).toBeGreaterThan(INPUT_WINDOW_BYTES)
    expect(program.text).toBe('x'.repeat(program.text.length))
  })
})

describe('an input stream that a viewer names', () => {
  const open = async (port: number, assertion = 'rw-a'): Promise<TestViewer> => {
    const v = await new TestViewer({ port, protocols: V1, assertion }).open({ input: 'page-1' })
    await v.until(() => v.hello !== undefined, 'hello')
    return v
  }

  test('resumes after a drop: a piece that comes twice counts once, and a gap does not count', async () => {
    const program = new Program().connect()
    await using f = await openFixture({ typing: program.typing })
    const first = await open(f.terminal.port)
    expect(first.hello?.input).toBe(true)
    await first.until(() => progressOf(first).length === 1, 'progress')
    expect(progressOf(first)).toEqual([{ received: 0, taken: 0 }])
    send(first, { at: 0 }, 'hello')
    await eventually(() => program.text === 'hello', 'it')
    await first[Symbol.asyncDispose]()
    await using second = await open(f.terminal.port)
    await second.until(() => progressOf(second).length === 1, 'progress')
    expect(progressOf(second)).toEqual([{ received: 5, taken: 0 }])
    send(second, { at: 0 }, 'hello')
    send(second, { at: 3 }, 'lo world')
    send(second, { at: 90 }, 'far away')
    await eventually(() => program.text === 'hello world', 'the rest')
    await sleep(20)
    program.take()
    await second.until(() => progressOf(second).at(-1)?.taken === 11, 'taken')
    expect(program.text).toBe('hello world')
  })

  test('from before a restart of the host is reported when work is reached, not before', async () => {
    const program = new Program(false)
    await using f = await openFixture({ typing: program.typing })
    await using v = await open(f.terminal.port)
    await sleep(50)
    expect(progressOf(v)).toEqual([])
    program.connect([{ stream: 'a/page-1', received: 7, taken: 4, dropped: 0, isLineCut: false }])
    await v.until(() => progressOf(v).length > 0, 'progress')
    expect(progressOf(v)).toEqual([{ received: 7, taken: 4 }])
  })

  test('belongs to its viewer: another viewer has its own under the same name', async () => {
    const program = new Program().connect()
    await using f = await openFixture({ typing: program.typing })
    await using a = await open(f.terminal.port)
    await using b = await open(f.terminal.port, 'rw-b')
    send(a, { at: 0 }, 'aaa')
    send(b, { at: 0 }, 'bb')
    await eventually(() => program.text.length === 5, 'both')
    expect(Object.fromEntries(program.received)).toEqual({ 'a/page-1': 3, 'b/page-1': 2 })
  })

  test('may have a key sent ahead of it', async () => {
    const program = new Program().connect()
    await using f = await openFixture({ typing: program.typing })
    await using v = await open(f.terminal.port)
    send(v, { at: 0 }, 'waits')
    send(v, { at: 100, ahead: true }, '\x03')
    await eventually(() => program.pieces.length === 2, 'both')
    expect(program.pieces[1]).toMatchObject({ at: 100, ahead: true })
    program.typing.onProgress({ stream: 'a/page-1', received: 101, taken: 101, dropped: 5, isLineCut: true })
    await v.until(() => progressOf(v).at(-1)?.taken === 101, 'taken')
    expect(progressOf(v).at(-1)).toEqual({ received: 101, taken: 101, dropped: 5, isLineCut: true })
  })

  test.each([
    ['ro-a', 'page-1'],
    ['rw-a', 'a/b'],
    ['rw-a', ''],
    ['rw-a', 'x'.repeat(65)],
    ['rw-a', 7],
  ])('does not exist for %s with the name %j', async (assertion, input) => {
    const program = new Program().connect()
    await using f = await openFixture({ typing: program.typing })
    await using v = await new TestViewer({ port: f.terminal.port, protocols: V1, assertion }).open({
      input: input as string,
    })
    await v.until(() => v.hello !== undefined, 'hello')
    send(v, { at: 0 }, 'text')
    await sleep(30)
    expect(v.hello?.input).toBeUndefined()
    expect(progressOf(v)).toEqual([])
    expect(program.text).toBe('')
  })
})

test('a new connection to work receives again what work had not confirmed', () => {
  const program = new Program().connect()
  const { typing } = program
  typing.push({ stream: 's', at: 0, bytes: Buffer.from('one '), ahead: false })
  typing.onProgress({ stream: 's', received: 4, taken: 0, dropped: 0, isLineCut: false })
  typing.push({ stream: 's', at: 4, bytes: Buffer.from('two '), ahead: false })
  typing.disconnect()
  typing.push({ stream: 's', at: 8, bytes: Buffer.from('three'), ahead: false })
  program.pieces.length = 0
  program.connect([{ stream: 's', received: 6, taken: 6, dropped: 0, isLineCut: false }])
  expect(program.pieces.map(({ at, bytes }) => [at, Buffer.from(bytes).toString()])).toEqual([
    [4, 'two '],
    [8, 'three'],
  ])
})
