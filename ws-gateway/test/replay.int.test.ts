import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import net from 'node:net'
import { decodeServerMessage, MAX_REPLAY_BYTES, type ServerMessage } from '@cliscale/contract'
import type { TestDatabase } from '@cliscale/test-kit'
import { createDatabase, createKeys, Inbox, type Keys, rawPod, Rig, until, upgradeHead } from './support.ts'

let database: TestDatabase
let keys: Keys
let rig: Rig

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
})
beforeEach(async () => {
  rig = await Rig.start(database, keys, { limits: { helloMs: 200, dialMs: 300, pollMs: 200, lingerMs: 500 } })
})
afterEach(async () => {
  await using ended = rig
  await until(() => Object.values(ended.gateway.stats().open).every((n) => n === 0))
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

async function output(sid: string, chunks: readonly (readonly [string | Buffer, number, number])[]): Promise<void> {
  let offset = 0
  for (const [data, columns, rows] of chunks) {
    await database.query(
      'insert into session_output (session_id, start_offset, data, columns, rows) values ($1,$2,$3,$4,$5)',
      [sid, offset, Buffer.from(data), columns, rows],
    )
    offset += Buffer.from(data).length
  }
}

/** All that a viewer gets until it is closed. */
async function view(sid: string, options: { hello?: object | string; protocols?: string[] } = {}): Promise<Inbox> {
  const ws = rig.open(sid, { query: `?token=${await rig.token(sid)}`, protocols: options.protocols ?? ['cliscale.v1'] })
  const inbox = new Inbox(ws)
  await once(ws, 'open')
  const { hello } = options
  if (hello !== undefined) ws.send(typeof hello === 'string' ? hello : JSON.stringify(hello))
  await until(() => inbox.closed, 20_000)
  return inbox
}

const decoded = (inbox: Inbox): ServerMessage[] => inbox.messages.map(decodeServerMessage)
const textOf = (inbox: Inbox): string => inbox.of('0').join('')

describe('a session whose host is gone', () => {
  const seed = { status: 'failed', exitCode: 3, reason: 'exit_nonzero', podUid: 'pod-9' }

  test('shows its output with its sizes in order, and how it ended', async () => {
    const sid = await rig.seed(seed)
    await output(sid, [
      ['one\r\n', 80, 24],
      ['two\r\n', 80, 24],
      ['three\r\n', 100, 30],
    ])
    const inbox = await view(sid, { hello: { columns: 80, rows: 24 } })
    expect(inbox.closed?.code).toBe(1000)
    expect(decoded(inbox)).toEqual([
      {
        type: 'hello',
        hello: { epoch: 'pod-9', seq: 0, role: 'rw', viewer: expect.any(String), columns: 80, rows: 24 },
      },
      { type: 'data', bytes: new Uint8Array(Buffer.from('one\r\n')) },
      { type: 'data', bytes: new Uint8Array(Buffer.from('two\r\n')) },
      { type: 'size', size: { columns: 100, rows: 30 } },
      { type: 'data', bytes: new Uint8Array(Buffer.from('three\r\n')) },
      {
        type: 'exit',
        exit: {
          status: 'failed',
          reason: 'exit_nonzero',
          detail: null,
          hint: expect.any(String),
          exitCode: 3,
          signal: null,
          durationMs: 2500,
        },
      },
    ])
  })

  test.each([
    [{ epoch: 'pod-9', have: 7 }, 7, 'two\r\nx'.slice(2) + 'end'],
    [{ epoch: 'pod-9', have: 5 }, 5, 'two\r\nxend'],
    [{ epoch: 'pod-9', have: 11 }, 11, 'end'],
    [{ epoch: 'pod-9', have: 14 }, 14, ''],
    [{ epoch: 'pod-9', have: 999 }, 999, ''],
    [{ epoch: 'pod-8', have: 7 }, 0, 'one\r\ntwo\r\nxend'],
    [{ epoch: 'pod-9', have: -1 }, 0, 'one\r\ntwo\r\nxend'],
    [{ epoch: 'pod-9', have: 'x' }, 0, 'one\r\ntwo\r\nxend'],
    [{ have: 7 }, 0, 'one\r\ntwo\r\nxend'],
    [{}, 0, 'one\r\ntwo\r\nxend'],
  ])('goes on where %j says', async (hello, seq, text) => {
    const sid = await rig.seed(seed)
    await output(sid, [
      ['one\r\n', 80, 24],
      ['two\r\nx', 80, 24],
      ['end', 80, 24],
    ])
    const inbox = await view(sid, { hello })
    expect(JSON.parse(String(inbox.of('4')[0]))).toMatchObject({ seq })
    expect(textOf(inbox)).toBe(text)
  })

  test('is dialled first, and read from the stored log when nobody answers', async () => {
    const dialled: number[] = []
    await using pod = await rawPod((socket) => {
      dialled.push(1)
      socket.destroy()
    })
    const sid = await rig.seed({ ...seed, port: pod.port })
    await output(sid, [['kept', 80, 24]])
    const inbox = await view(sid, { hello: {} })
    expect(dialled.length).toBeGreaterThan(0)
    expect(textOf(inbox)).toBe('kept')
  })

  test('is shown to a viewer that waited when it ended', async () => {
    const sid = await rig.seed({ status: 'queued', podUid: null })
    const shown = view(sid, { hello: {} })
    await until(() => rig.gateway.stats().open.waiting === 1)
    await database.query(`update sessions set status = 'failed', reason = 'launch_failed' where id = $1`, [sid])
    const inbox = await shown
    expect(JSON.parse(String(inbox.of('7')[0]))).toMatchObject({ status: 'failed', reason: 'launch_failed' })
    expect(inbox.closed?.code).toBe(1000)
  })

  test('shows its output to a client that sends no first message', async () => {
    const sid = await rig.seed(seed)
    await output(sid, [['kept', 80, 24]])
    const inbox = await view(sid)
    expect(textOf(inbox)).toBe('kept')
    expect(inbox.of('7')).toHaveLength(1)
  })

  test('shows its bytes and a last line on tty', async () => {
    const sid = await rig.seed(seed)
    await output(sid, [['kept', 80, 24]])
    const inbox = await view(sid, { protocols: ['tty'], hello: { AuthToken: '', columns: 80, rows: 24 } })
    expect(inbox.messages.map((m) => m[0])).toEqual([0x30, 0x30])
    expect(textOf(inbox)).toMatch(/^kept\r\n.*\[cliscale\] exit code 3/)
    expect(inbox.closed?.code).toBe(1000)
  })

  test('shows the end of a long output, from the start of a chunk, in full to a slow reader', async () => {
    const sid = await rig.seed(seed)
    const chunk = 60_000
    await database.query(
      `insert into session_output (session_id, start_offset, data, columns, rows)
       select $1, n * $2::int, convert_to(rpad(n || ':', $2::int, chr(97 + n % 26)), 'UTF8'), 80, 24
       from generate_series(0, 119) n`,
      [sid, chunk],
    )
    const ws = rig.open(sid, { query: `?token=${await rig.token(sid)}` })
    const inbox = new Inbox(ws)
    await once(ws, 'open')
    ws.send('{}')
    await until(() => inbox.of('4').length > 0)
    ws.pause()
    await new Promise((resolve) => setTimeout(resolve, 300))
    ws.resume()
    await until(() => inbox.closed, 20_000)
    const total = 120 * chunk
    const seq = Math.ceil((total - MAX_REPLAY_BYTES) / chunk) * chunk
    expect(JSON.parse(String(inbox.of('4')[0]))).toMatchObject({ seq })
    expect(textOf(inbox).length).toBe(total - seq)
    expect(inbox.of('0')[0]).toMatch(new RegExp(`^${seq / chunk}:`))
    // What is left out is mentioned once, without an offset, between HELLO and the first byte.
    expect(
      decoded(inbox)
        .map(({ type }) => type)
        .slice(0, 3),
    ).toEqual(['hello', 'snapshot', 'data'])
    const [note] = decoded(inbox).filter((message) => message.type === 'snapshot')
    expect(note?.seq).toBe(seq)
    expect(String(Buffer.from(note!.bytes))).toContain(
      `the first ${(seq / 1e6).toFixed(1)} MB of the output are not shown here; for all of it: GET /api/sessions/${sid}/logs`,
    )
    const onTty = await view(sid, { protocols: ['tty'], hello: { AuthToken: '' } })
    expect(onTty.of('0')[0]).toContain('[cliscale] the first 3.1 MB of the output are not shown here')
    expect(textOf(onTty).slice(onTty.of('0')[0]!.length, -onTty.of('0').at(-1)!.length).length).toBe(total - seq)
    const hello = JSON.parse(String(inbox.of('4')[0])) as { epoch: string }
    const back = await view(sid, { hello: { epoch: hello.epoch, have: total - 5 } })
    expect(decoded(back).map(({ type }) => type)).toEqual(['hello', 'data', 'exit'])
  })

  test.each([
    ['JSON that is broken', '{', 1008],
    ['a message of 100 kB', 'x'.repeat(100_000), 1009],
  ])('closes on %s', async (_name, hello, code) => {
    const inbox = await view(await rig.seed(seed), { hello })
    expect(inbox.closed?.code).toBe(code)
  })

  test('closes on an unmasked frame, and frees a client that leaves half-way', async () => {
    const sid = await rig.seed(seed)
    const socket = net.connect(rig.port, '127.0.0.1')
    const chunks: Buffer[] = []
    socket.on('data', (data) => chunks.push(data))
    socket.write(upgradeHead({ path: `/ws/${sid}?token=${await rig.token(sid)}`, host: rig.host }))
    socket.write(Buffer.from([0x82, 0x02, 0x7b, 0x7d]))
    await once(socket, 'end')
    const bytes = Buffer.concat(chunks)
    expect(bytes.subarray(bytes.indexOf('\r\n\r\n') + 4).readUInt16BE(2)).toBe(1002)
    socket.destroy()
    const gone = net.connect(rig.port, '127.0.0.1')
    gone.write(upgradeHead({ path: `/ws/${sid}?token=${await rig.token(sid)}`, host: rig.host }))
    await once(gone, 'data')
    gone.resetAndDestroy()
  })

  test('closes with 1012 when the gateway stops meanwhile', async () => {
    const sid = await rig.seed(seed)
    const ws = rig.open(sid, { query: `?token=${await rig.token(sid)}` })
    const inbox = new Inbox(ws)
    await once(ws, 'open')
    await rig.gateway.drain()
    expect(await until(() => inbox.closed)).toMatchObject({ code: 1012 })
  })
})
