import { beforeEach, describe, expect, test } from '@jest/globals'
import {
  ACK_EVERY_BYTES,
  DARK_COLOURS,
  encodeBytes,
  encodeJson,
  encodeSnapshot,
  type Exit,
  type Hello,
  LIGHT_COLOURS,
  ServerType,
  type StatusMessage,
} from '@cliscale/contract/terminal'
import { reconnectDelayMs } from './backoff.ts'
import { ASK_MS, Connection, IDLE_ACK_MS, OPEN_LIMIT_MS, SILENCE, type Socket } from './connection.ts'
import type { ConnectionState } from './connection-state.ts'
import { InputStream, MAX_WAITING_BYTES } from './input-stream.ts'
import type { ViewerAnswer } from './viewer-api.ts'

const VIEWER: ViewerAnswer = { kind: 'viewer', viewer: { viewer: 'v1', mode: 'rw', clockOffsetMs: 0 } }
const LINK_USED: ViewerAnswer = { kind: 'refused', why: 'link_used' }
const NO_ACCESS: ViewerAnswer = { kind: 'refused', why: 'no_access' }
const UNREACHABLE: ViewerAnswer = { kind: 'unreachable' }
const SIZE = { columns: 80, rows: 24 }
const FIRST = JSON.stringify({ ...SIZE, colours: LIGHT_COLOURS, input: 'page' })
const EXIT: Exit = {
  status: 'failed',
  reason: 'exit_nonzero',
  detail: null,
  hint: null,
  exitCode: 3,
  signal: null,
  durationMs: 10,
}

/** A clock that moves only when told; timers run in the order they are due. */
class ManualClock {
  #now = 1_000_000
  #next = 0
  readonly #timers = new Map<number, { at: number; callback: () => void }>()
  readonly now = (): number => this.#now
  readonly setTimeout = (callback: () => void, ms: number): number => {
    this.#timers.set(++this.#next, { at: this.#now + ms, callback })
    return this.#next
  }
  readonly clearTimeout = (timer: unknown): void => void this.#timers.delete(timer as number)

  get pending(): number {
    return this.#timers.size
  }

  /** Time passes, and nothing runs: then one timer that is due does. */
  jump(ms: number): void {
    this.#now += ms
    const [id, timer] = [...this.#timers].find(([, { at }]) => at <= this.#now) ?? []
    this.#timers.delete(id ?? 0)
    timer?.callback()
  }

  /** Time passes in which no timer runs. */
  skip(ms: number): void {
    this.#now += ms
  }

  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0]
      if (due === undefined) break
      this.#timers.delete(due[0])
      this.#now = due[1].at
      due[1].callback()
    }
    this.#now = end
  }
}

class FakeSocket implements Socket {
  protocol = 'cliscale.v1'
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  readonly sent: string[] = []
  closed = false
  send(message: Uint8Array): void {
    this.sent.push(new TextDecoder().decode(message))
  }
  close(): void {
    this.closed = true
  }
  say(message: Uint8Array): void {
    this.onmessage?.({ data: message.slice().buffer })
  }
  hello(rest: Partial<Hello> = {}): void {
    this.say(
      encodeJson(ServerType.hello, {
        epoch: 'e',
        seq: 0,
        ...SIZE,
        role: 'rw',
        viewer: 'v1',
        heartbeatMs: 4_000,
        ...rest,
      }),
    )
  }
  status(status: StatusMessage['status'], stage: StatusMessage['stage'] = null): void {
    this.say(encodeJson(ServerType.status, { status, stage, since: '2026-01-01T00:00:00Z', reason: null, hint: null }))
  }
  data(text: string): void {
    this.say(encodeBytes(ServerType.data, new TextEncoder().encode(text)))
  }
}

describe('Connection', () => {
  let clock: ManualClock
  let sockets: FakeSocket[]
  let states: ConnectionState[]
  let drawn: string[]
  let parsed: (() => void)[]
  let asked: string[]
  let answers: { redeem: ViewerAnswer; find: ViewerAnswer }
  let connection: Connection
  let windowSize = SIZE
  let colours = LIGHT_COLOURS
  const memory: { viewer: string | undefined } = { viewer: undefined }

  const settle = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }
  const socket = (): FakeSocket => sockets.at(-1) as FakeSocket
  const begin = async (token?: string): Promise<void> => {
    connection = new Connection({
      token,
      api: {
        redeem: (given) => {
          asked.push(`redeem ${given}`)
          return Promise.resolve(answers.redeem)
        },
        find: (viewer) => {
          asked.push(`find ${viewer ?? '-'}`)
          return Promise.resolve(answers.find)
        },
      },
      openSocket: (viewer) => {
        asked.push(`open ${viewer}`)
        sockets.push(new FakeSocket())
        return socket()
      },
      memory,
      screen: {
        reset: () => drawn.push('reset'),
        write: (bytes, done) => {
          drawn.push(`write ${new TextDecoder().decode(bytes)}`)
          parsed.push(done)
        },
        snapshot: (bytes, done) => {
          drawn.push(`snapshot ${new TextDecoder().decode(bytes)}`)
          parsed.push(done)
        },
        resize: ({ columns, rows }) => drawn.push(`size ${columns}x${rows}`),
        title: (text) => drawn.push(`title ${text}`),
      },
      input: new InputStream({ name: 'page', onChange: () => {}, onDropped: () => {}, onLineCut: () => {} }),
      clock,
      retryDelayMs: (attempt) => reconnectDelayMs(attempt, 0),
      windowSize: () => windowSize,
      colours: () => colours,
      onState: (state) => states.push(state),
      onMode: () => {},
      onDriver: () => {},
      onStatus: () => {},
      onPlain: () => drawn.push('plain'),
    })
    connection.start()
    await settle()
  }
  const attach = async (hello: Partial<Hello> = {}): Promise<void> => {
    await begin('t')
    socket().onopen?.()
    socket().hello(hello)
  }
  const kinds = (): string[] => states.map(({ kind }) => kind)

  beforeEach(() => {
    clock = new ManualClock()
    sockets = []
    states = []
    drawn = []
    parsed = []
    asked = []
    answers = { redeem: VIEWER, find: VIEWER }
    memory.viewer = undefined
    windowSize = SIZE
    colours = LIGHT_COLOURS
  })

  describe('getting in', () => {
    test('redeems, then attaches as that viewer, and says how large the window is', async () => {
      await begin('t')
      socket().onopen?.()
      expect(asked).toEqual(['redeem t', 'open v1'])
      expect(socket().sent).toEqual([FIRST])
      expect(memory.viewer).toBe('v1')
    })

    test('a used link still opens in the browser that holds the cookie', async () => {
      answers.redeem = LINK_USED
      await begin('t')
      expect(asked).toEqual(['redeem t', 'find -', 'open v1'])
    })

    test('a used link in another browser says so and opens nothing', async () => {
      answers = { redeem: LINK_USED, find: NO_ACCESS }
      await begin('t')
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'link_used' })
      expect(sockets).toHaveLength(0)
      expect(clock.pending).toBe(0)
    })

    test('a window that changed while it waited for the session tells its size again', async () => {
      await begin('t')
      socket().onopen?.()
      windowSize = { columns: 60, rows: 20 }
      socket().hello()
      expect(socket().sent).toEqual([FIRST, '1{"columns":60,"rows":20}'])
    })

    test('a page whose colours change tells them, at once or when it is attached', async () => {
      await begin('t')
      socket().onopen?.()
      colours = DARK_COLOURS
      connection.recolour()
      expect(socket().sent).toEqual([FIRST])
      socket().hello()
      colours = LIGHT_COLOURS
      connection.recolour()
      const [dark, light] = [DARK_COLOURS, LIGHT_COLOURS].map((told) => `1${JSON.stringify({ colours: told })}`)
      expect(socket().sent).toEqual([FIRST, dark, light])
    })

    test('a session that is not there is said, whatever is wrong with the link', async () => {
      answers = { redeem: NO_ACCESS, find: { kind: 'refused', why: 'not_found' } }
      await begin('t')
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'not_found' })
    })

    test('without a token the cookie is asked, the remembered viewer first', async () => {
      memory.viewer = 'old'
      answers.find = NO_ACCESS
      await begin()
      expect(asked).toEqual(['find old', 'find -'])
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'no_access' })
    })

    test('an unreachable server is tried again with the same token', async () => {
      answers.redeem = UNREACHABLE
      await begin('t')
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', cause: 'network' })
      answers.redeem = VIEWER
      clock.advance(1000)
      await settle()
      expect(asked).toEqual(['redeem t', 'redeem t', 'open v1'])
    })
  })

  describe('what it says', () => {
    test('waits with its stage before the HELLO and after it, then is live', async () => {
      await begin('t')
      socket().onopen?.()
      socket().status('queued')
      socket().hello()
      socket().status('starting', 'installing')
      socket().status('running', 'running')
      expect(kinds()).toEqual(['connecting', 'connecting', 'waiting', 'waiting', 'waiting', 'live'])
    })

    test('EXIT ends it for good: the close that follows changes nothing', async () => {
      await attach()
      socket().say(encodeJson(ServerType.exit, EXIT))
      socket().onclose?.({ code: 1000 })
      clock.advance(120_000)
      expect(states.at(-1)).toEqual({ kind: 'ended', exit: EXIT })
      expect(sockets).toHaveLength(1)
      expect(clock.pending).toBe(0)
    })

    test('a session that failed before it had a terminal ends with its reason', async () => {
      await begin('t')
      socket().onopen?.()
      socket().status('failed')
      socket().onclose?.({ code: 1000 })
      expect(states.at(-1)).toMatchObject({ kind: 'ended', exit: { status: 'failed', exitCode: null } })
    })

    test('a session that is gone stops the page', async () => {
      await attach()
      socket().onclose?.({ code: 4404 })
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'gone' })
      expect(clock.pending).toBe(0)
    })

    test('a viewer who was put out is told, and does not come back', async () => {
      await attach()
      answers.find = NO_ACCESS
      socket().onclose?.({ code: 4401 })
      await settle()
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'revoked' })
      expect(clock.pending).toBe(0)
    })

    test('broken JSON stops instead of drawing on', async () => {
      await attach()
      socket().say(new Uint8Array([ServerType.size, 0x7b]))
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'protocol' })
    })

    test('messages of a later version, heartbeats and text are ignored', async () => {
      await attach()
      socket().say(new Uint8Array([0x7a, 1, 2]))
      socket().say(new Uint8Array([ServerType.heartbeat]))
      socket().onmessage?.({ data: 'text' })
      expect(states.at(-1)?.kind).toBe('live')
    })
  })

  describe('drops', () => {
    test('comes back with its offset and draws on without a reset', async () => {
      await attach()
      socket().data('héllo')
      socket().onclose?.({ code: 1006 })
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', at: clock.now() + 250 })
      clock.advance(250)
      socket().onopen?.()
      const resumed = { ...SIZE, colours, epoch: 'e', have: 6, input: 'page' }
      expect(socket().sent).toEqual([JSON.stringify(resumed)])
      socket().hello({ seq: 6 })
      socket().data('!')
      expect(drawn).toEqual(['size 80x24', 'write héllo', 'size 80x24', 'write !'])
    })

    test('resets when the server stands elsewhere', async () => {
      await attach()
      socket().data('old')
      socket().onclose?.({ code: 1012 })
      clock.advance(1000)
      socket().onopen?.()
      socket().hello({ epoch: 'other', seq: 0 })
      expect(drawn.slice(2)).toEqual(['reset', 'size 80x24'])
    })

    test('waits longer each time, and starts again from the beginning after a connection that held', async () => {
      await attach()
      const delays: number[] = []
      for (let i = 0; i < 4; i++) {
        socket().onclose?.({ code: 1006 })
        const state = states.at(-1)
        const delay = state?.kind === 'reconnecting' ? state.at - clock.now() : 0
        delays.push(delay)
        clock.advance(delay)
        socket().onopen?.()
      }
      socket().hello()
      clock.advance(6_000)
      socket().onclose?.({ code: 1006 })
      const state = states.at(-1)
      expect(delays).toEqual([250, 1000, 2000, 4000])
      expect(state?.kind === 'reconnecting' && state.at - clock.now()).toBe(250)
    })

    test('two missing heartbeats are a drop within 10 s; a heartbeat keeps it', async () => {
      await attach()
      clock.advance(9_999)
      socket().say(new Uint8Array([ServerType.heartbeat]))
      clock.advance(9_999)
      expect(states.at(-1)?.kind).toBe('live')
      const silent = socket()
      clock.advance(1)
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', cause: 'silence' })
      expect(silent.closed).toBe(true)
    })

    test('a server that hangs before it says a word is seen within 12 s', async () => {
      await begin('t')
      socket().onopen?.()
      clock.advance(12_000)
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', cause: 'silence' })
    })

    test('a host of an older version, which names no heartbeat, has 40 s', async () => {
      await attach({ heartbeatMs: undefined })
      clock.advance(SILENCE.unnamed - 1)
      expect(states.at(-1)?.kind).toBe('live')
      clock.advance(1)
      expect(states.at(-1)?.kind).toBe('reconnecting')
    })

    test('a line that is too slow for the snapshot gets twice the time with each attempt, until a heartbeat', async () => {
      await attach()
      const limits: number[] = []
      for (let i = 0; i < 5; i++) {
        const attachedAt = clock.now()
        while (states.at(-1)?.kind === 'live') clock.advance(1_000)
        limits.push(Math.round((clock.now() - attachedAt) / 1000))
        while (sockets.length < i + 2) clock.advance(1_000)
        socket().onopen?.()
        socket().hello()
      }
      socket().say(new Uint8Array([ServerType.heartbeat]))
      clock.advance(10_000)
      expect(states.at(-1)?.kind).toBe('reconnecting')
      expect(limits).toEqual([10, 20, 40, 80, 80])
    })

    test('a timer that was held up lets in first what has come meanwhile', async () => {
      await attach()
      clock.jump(60_000)
      expect(states.at(-1)?.kind).toBe('live')
      socket().say(new Uint8Array([ServerType.heartbeat]))
      clock.advance(1_000)
      expect(states.at(-1)?.kind).toBe('live')
      clock.jump(60_000)
      clock.advance(600)
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', cause: 'silence' })
    })

    test('the window that decides the size says so when it comes back, and one that does not does not', async () => {
      await attach()
      for (const drives of [true, false]) {
        socket().say(encodeJson(ServerType.driver, { drives }))
        socket().onclose?.({ code: 1006 })
        clock.advance(1_000)
        socket().onopen?.()
        expect(JSON.parse(socket().sent[0] ?? '')).toMatchObject({ columns: 80 })
        expect(socket().sent[0]?.includes('"drives":true')).toBe(drives)
        socket().hello()
      }
    })

    test('the size is taken by a wish, and only by who may type', async () => {
      await attach()
      connection.takeSize()
      expect(socket().sent.at(-1)).toBe('1{"columns":80,"rows":24,"take":true}')
      socket().hello({ role: 'ro' })
      const { length } = socket().sent
      connection.takeSize()
      expect(socket().sent).toHaveLength(length)
    })

    test('a refused upgrade asks why: no access stops', async () => {
      await begin('t')
      answers.find = NO_ACCESS
      socket().onclose?.({ code: 1006 })
      await settle()
      expect(asked.at(-1)).toBe('find v1')
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'no_access' })
    })

    test.each([
      ['no network', UNREACHABLE, 'network'],
      ['a busy server', VIEWER, 'server'],
    ])('a refused upgrade asks why: %s goes on trying', async (_name, answer, cause) => {
      await begin('t')
      answers.find = answer
      socket().onclose?.({ code: 1006 })
      await settle()
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', cause })
    })

    test('an upgrade that never answers is given up', async () => {
      await begin('t')
      clock.advance(OPEN_LIMIT_MS)
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', cause: 'network' })
    })

    test('waking up connects at once, and only once', async () => {
      await attach()
      socket().onclose?.({ code: 1006 })
      connection.wake()
      connection.wake()
      expect(sockets).toHaveLength(2)
      clock.advance(1000)
      expect(sockets).toHaveLength(2)
    })

    test('waking up doubts a connection that missed a heartbeat, and trusts one that did not', async () => {
      await attach()
      clock.skip(9_000)
      connection.wake()
      clock.advance(600)
      expect(states.at(-1)?.kind).toBe('live')
      clock.skip(9_000)
      connection.wake()
      clock.advance(600)
      expect(states.at(-1)).toMatchObject({ kind: 'reconnecting', cause: 'silence' })
    })

    test('what an abandoned socket still says is not heard', async () => {
      await attach()
      const old = socket()
      old.onclose?.({ code: 1006 })
      old.data('late')
      expect(drawn).toEqual(['size 80x24'])
    })
  })

  describe('acknowledgements', () => {
    const acks = (): string[] => socket().sent.filter((message) => message.startsWith('4'))

    test('each 64 KiB that was worked off, not that arrived', async () => {
      await attach()
      socket().data('x'.repeat(ACK_EVERY_BYTES))
      expect(acks()).toEqual([])
      parsed.shift()?.()
      expect(acks()).toEqual([`4{"seq":${ACK_EVERY_BYTES}}`])
    })

    test('less than that after a short pause, once', async () => {
      await attach()
      socket().data('ab')
      socket().data('cd')
      parsed.shift()?.()
      parsed.shift()?.()
      clock.advance(IDLE_ACK_MS)
      clock.advance(IDLE_ACK_MS)
      expect(acks()).toEqual(['4{"seq":4}'])
    })

    test('bytes of the connection before are acknowledged on the new one', async () => {
      await attach()
      socket().data('abc')
      socket().onclose?.({ code: 1006 })
      clock.advance(1000)
      socket().onopen?.()
      socket().hello({ seq: 3 })
      parsed.shift()?.()
      clock.advance(IDLE_ACK_MS)
      expect(acks()).toEqual(['4{"seq":3}'])
    })

    test('after a snapshot counting goes on from its offset', async () => {
      await attach()
      socket().say(encodeSnapshot(500, new TextEncoder().encode('S')))
      socket().data('12345')
      for (const done of parsed) done()
      clock.advance(IDLE_ACK_MS)
      expect(acks()).toEqual(['4{"seq":505}'])
    })
  })

  describe('typing', () => {
    const bytes = new Uint8Array([0x61])

    const progress = (received: number, taken: number): void =>
      socket().say(encodeJson(ServerType.progress, { received, taken }))

    test('before the session is there waits for it', async () => {
      await begin('t')
      socket().onopen?.()
      expect(connection.type(bytes)).toBe('taken')
      expect(socket().sent).toHaveLength(1)
      socket().hello({ input: true })
      expect(socket().sent).toHaveLength(1)
      progress(0, 0)
      expect(socket().sent.at(-1)).toBe('5{"at":0}\na')
    })

    test('goes on after a drop where the session is, and what was typed meanwhile follows', async () => {
      await attach()
      socket().hello({ input: true })
      progress(0, 0)
      for (const key of 'abc') connection.type(new TextEncoder().encode(key))
      socket().onclose?.({ code: 1012 })
      expect(connection.type(new TextEncoder().encode('d'))).toBe('taken')
      clock.advance(1_000)
      socket().onopen?.()
      socket().hello({ input: true })
      progress(2, 1)
      expect(socket().sent.slice(1)).toEqual(['5{"at":2}\nc', '5{"at":3}\nd'])
    })

    test('reaches a session of an earlier version, which tells no progress, as it comes', async () => {
      await begin('t')
      socket().onopen?.()
      connection.type(bytes)
      socket().hello()
      connection.type(bytes)
      expect(socket().sent.slice(1)).toEqual(['0a', '0a'])
    })

    test('is told that too much waits', async () => {
      await begin('t')
      connection.type(new Uint8Array(MAX_WAITING_BYTES))
      expect(connection.type(bytes)).toBe('too_much')
    })

    test('a read-only viewer sends neither keys nor sizes', async () => {
      await attach()
      socket().hello({ role: 'ro' })
      const before = socket().sent.length
      expect(connection.type(bytes)).toBe('unreachable')
      connection.resize({ columns: 1, rows: 1 })
      connection.recolour()
      expect(socket().sent).toHaveLength(before)
    })

    test('nothing is sent after the end', async () => {
      await attach()
      socket().say(encodeJson(ServerType.exit, EXIT))
      const before = socket().sent.length
      expect(connection.type(bytes)).toBe('unreachable')
      connection.resize({ columns: 1, rows: 1 })
      connection.recolour()
      expect(socket().sent).toHaveLength(before)
    })
  })

  test('close leaves no timer and no socket, and says nothing more', async () => {
    await attach()
    const count = states.length
    connection.close()
    connection.wake()
    expect(socket().closed).toBe(true)
    expect(clock.pending).toBe(0)
    expect(states).toHaveLength(count)
  })

  describe('to an image with a terminal of its own', () => {
    const viewerAt = (status: StatusMessage['status']): ViewerAnswer => ({
      kind: 'viewer',
      viewer: {
        viewer: 'v1',
        mode: 'rw',
        clockOffsetMs: 0,
        status: { status, stage: null, since: '2026-01-01T00:00:00Z', reason: null, hint: 'a hint' },
      },
    })
    const preferences = encodeBytes(ServerType.preferences, new TextEncoder().encode('{}'))
    const open = async (): Promise<void> => {
      socket().protocol = 'tty'
      socket().onopen?.()
      await settle()
    }
    const beginPlain = async (): Promise<void> => {
      answers.redeem = answers.find = viewerAt('scheduling')
      await begin('t')
      await open()
    }
    const attachPlain = async (): Promise<void> => {
      await beginPlain()
      answers.find = viewerAt('running')
      socket().say(preferences)
      await settle()
    }

    test('shows what it waits for, which it asks beside the terminal, and not the gateway’s lines', async () => {
      await beginPlain()
      expect([drawn, socket().sent]).toEqual([['plain'], ['{"AuthToken":"","columns":80,"rows":24}']])
      expect(states.at(-1)).toMatchObject({ kind: 'waiting', status: { status: 'scheduling', hint: 'a hint' } })
      socket().data('[cliscale] scheduling, 5 s')
      answers.find = viewerAt('starting')
      clock.advance(ASK_MS)
      await settle()
      expect(states.at(-1)).toMatchObject({ kind: 'waiting', status: { status: 'starting' } })
      expect(drawn).toEqual(['plain'])
    })

    test('is live from the terminal’s first word on, in the window’s size, and acknowledges nothing', async () => {
      await attachPlain()
      socket().data('$ ')
      parsed.shift()?.()
      expect(states.at(-1)?.kind).toBe('live')
      expect(drawn).toEqual(['plain', 'size 80x24', 'write $ '])
      expect(connection.type(new TextEncoder().encode('x'))).toBe('taken')
      connection.resize({ columns: 90, rows: 30 })
      expect(socket().sent.slice(1)).toEqual(['1{"columns":80,"rows":24}', '0x', '1{"columns":90,"rows":30}'])
      expect(drawn.at(-1)).toBe('size 90x30')
      clock.advance(10 * SILENCE.most)
      expect([states.at(-1)?.kind, socket().closed, clock.pending]).toEqual(['live', false, 0])
    })

    test.each([1000, 1006, 1012])('a connection that ends with %i starts no other program unasked', async (code) => {
      await attachPlain()
      socket().onclose?.({ code })
      await settle()
      expect(states.at(-1)).toEqual({ kind: 'stopped', why: 'program_over' })
      expect(clock.pending).toBe(0)
      connection.resume()
      await open()
      socket().say(preferences)
      expect([sockets.length, drawn.at(-2), states.at(-1)?.kind]).toEqual([2, 'reset', 'live'])
    })

    test('a session that has ended says how it ended', async () => {
      await attachPlain()
      answers.find = viewerAt('stopped')
      socket().onclose?.({ code: 1006 })
      await settle()
      expect(states.at(-1)).toMatchObject({ kind: 'ended', exit: { status: 'stopped', exitCode: null } })
    })

    test('one that is not there yet is waited for over a new connection', async () => {
      await beginPlain()
      socket().onclose?.({ code: 1012 })
      await settle()
      expect(states.at(-1)?.kind).toBe('reconnecting')
    })
  })
})
