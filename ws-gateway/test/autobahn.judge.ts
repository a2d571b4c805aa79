import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { autobahn, type TestDatabase, type Verdict, withHeaders } from '@cliscale/test-kit'
import type WebSocket from 'ws'
import { openFixture } from '../../runner/test/terminal-fixture.ts'
import { DEFAULT_LIMITS } from '../../runner/src/host/terminal/limits.ts'
import { startTerminalServer, type TerminalServer } from '../../runner/src/host/terminal/server.ts'
import { createDatabase, createKeys, echoPod, Rig } from './support.ts'

// Messages over 64 KiB, and compression, which neither part offers.
const BEYOND_THE_HOST = ['-9.*', '-12.*', '-13.*']
const COMPRESSION = ['-12.*', '-13.*']

const failed = (verdicts: readonly Verdict[]): string[] =>
  verdicts.filter(({ passed }) => !passed).map(({ id, behavior, close, why }) => `${id} ${behavior} ${close} ${why}`)

function echo(socket: WebSocket): void {
  socket.on('error', () => undefined)
  socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }))
}

/** The host's own server, with an echo where the terminal is: what Autobahn's cases expect. */
function echoHost(onViewer: (socket: WebSocket) => void = echo): Promise<TerminalServer> {
  return startTerminalServer({
    listen: { host: '127.0.0.1', port: 0 },
    limits: DEFAULT_LIMITS,
    verify: () => Promise.resolve({ sid: randomUUID(), mode: 'rw', viewer: randomUUID() }),
    findRefusal: () => undefined,
    onViewer: (socket) => {
      onViewer(socket)
      return { onHalfClose: () => socket.terminate() }
    },
  })
}

jest.setTimeout(120_000)

describe("Autobahn's cases at the session host", () => {
  test('pass at its server', async () => {
    await using host = await echoHost()
    await using port = await withHeaders(host.port, { Authorization: 'Bearer x' })
    const verdicts = await autobahn(`ws://127.0.0.1:${port.port}/ws`, ...BEYOND_THE_HOST)
    expect(verdicts.length).toBeGreaterThanOrEqual(247)
    expect(failed(verdicts)).toEqual([])
  })

  test('pass at its terminal, except those that need an echo', async () => {
    await using fixture = await openFixture()
    await using port = await withHeaders(fixture.terminal.port, { Authorization: 'Bearer rw-1' })
    const verdicts = await autobahn(`ws://127.0.0.1:${port.port}/ws`, ...BEYOND_THE_HOST)
    const judged = verdicts.filter(({ waitsForEcho }) => !waitsForEcho)
    expect(judged.length).toBeGreaterThanOrEqual(140)
    expect(failed(judged)).toEqual([])
  })
})

describe("Autobahn's cases through the gateway", () => {
  let database: TestDatabase
  let rig: Rig
  beforeAll(async () => {
    database = await createDatabase()
    rig = await Rig.start(database, await createKeys())
  })
  afterAll(async () => {
    await rig[Symbol.asyncDispose]()
    await database[Symbol.asyncDispose]()
  })

  async function judge(port: number, ...cases: string[]): Promise<Verdict[]> {
    const sid = await rig.seed({ port })
    const { cookie } = await rig.cookie(sid)
    await using front = await withHeaders(rig.port, { Cookie: cookie })
    return await autobahn(`ws://127.0.0.1:${front.port}/ws/${sid}`, ...cases)
  }

  test('pass with the session host behind it', async () => {
    await using host = await echoHost()
    const verdicts = await judge(host.port, ...BEYOND_THE_HOST)
    expect(verdicts.length).toBeGreaterThanOrEqual(247)
    expect(failed(verdicts)).toEqual([])
  })

  test('pass with messages of any size', async () => {
    // 4 MiB in fragments of 64 bytes, of which ws by itself takes fewer.
    await using pod = await echoPod(echo, { maxFragments: 100_000 })
    const verdicts = await judge(pod.port, ...COMPRESSION)
    expect(verdicts.length).toBeGreaterThanOrEqual(301)
    expect(failed(verdicts)).toEqual([])
  })

  test('fail against a pod that accepts invalid UTF-8 and against one that never answers', async () => {
    await using credulous = await echoPod(echo, { skipUTF8Validation: true })
    const first = await judge(credulous.port, '6.3.*', '1.1.1')
    expect(first.map(({ id, passed }) => [id, passed])).toEqual([
      ['1.1.1', true],
      ['6.3.1', false],
      ['6.3.2', false],
    ])
    await using silent = await echoHost((socket) => socket.on('error', () => undefined))
    const second = await judge(silent.port, '1.1.2', '2.1')
    expect(second.map(({ id, passed }) => [id, passed])).toEqual([
      ['1.1.2', false],
      ['2.1', true],
    ])
  })
})
