/** The gateway in front of the real session host. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { ATTACH_ASSERTION, type AttachClaims, type Hello, TOKEN_ISSUER } from '@cliscale/contract'
import type { TestDatabase } from '@cliscale/test-kit'
import { createLocalJWKSet, jwtVerify } from 'jose'
import type { SessionTerminal } from '../../runner/src/host/terminal-types.ts'
import { typingInto } from '../../runner/test/terminal-fixture.ts'
import { openSessionTerminal } from '../../runner/src/host/terminal/session-terminal.ts'
import { createDatabase, createKeys, Inbox, type Keys, Rig, until } from './support.ts'

let database: TestDatabase
let keys: Keys
let rig: Rig
let dir: string
let host: SessionTerminal
let sid: string
const typed: string[] = []

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
})
beforeEach(async () => {
  rig = await Rig.start(database, keys, { limits: { pollMs: 200, dialMs: 500 } })
  dir = await mkdtemp(path.join(os.tmpdir(), 'cliscale-host-'))
  sid = await rig.seed()
  typed.length = 0
  host = await startHost()
  await rig.endpoint(sid, host.port)
})
afterEach(async () => {
  await host[Symbol.asyncDispose]()
  await rig[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
})

async function startHost(): Promise<SessionTerminal> {
  const jwks = createLocalJWKSet(keys.jwks as never)
  const terminal = await openSessionTerminal({
    spoolDir: dir,
    spoolMaxBytes: 1024 ** 2 * 64,
    listen: { host: '127.0.0.1', port: 0 },
    verify: async (assertion) => {
      const options = { audience: ATTACH_ASSERTION.audience, issuer: TOKEN_ISSUER, typ: ATTACH_ASSERTION.type }
      const { payload } = await jwtVerify<AttachClaims>(assertion, jwks, options)
      if (payload.sid !== sid) throw new Error('another session')
      return payload
    },
    typing: typingInto((bytes) => void typed.push(bytes.toString())),
    onAnswer: () => undefined,
    onResize: () => undefined,
  })
  terminal.setEpoch('pod-1')
  return terminal
}

const say = (offset: number, text: string): void => host.appendWork(offset, Buffer.from(text))

async function attach(options: Parameters<Rig['open']>[1], hello: object = {}): Promise<Inbox> {
  const ws = rig.open(sid, options)
  const inbox = new Inbox(ws)
  await once(ws, 'open')
  ws.send(Buffer.from(JSON.stringify({ columns: 80, rows: 24, ...hello })))
  return inbox
}
const helloOf = (inbox: Inbox): Promise<Hello> =>
  until(() => inbox.of('4')[0]).then((text) => JSON.parse(text) as Hello)

describe('the session host behind the gateway', () => {
  test.each([['cliscale.v1'], ['tty']])('speaks %s: output, input, and how it ended', async (protocol) => {
    say(0, 'before anybody came\r\n')
    const inbox = await attach({ query: `?token=${await rig.token(sid)}`, protocols: [protocol] })
    expect(inbox.socket.protocol).toBe(protocol)
    await until(() => inbox.of('0').join('').includes('before anybody came'))
    inbox.socket.send(Buffer.from('0echo hi\r'))
    await until(() => typed.join('') === 'echo hi\r')
    say(21, 'last words')
    host.end({
      status: 'failed',
      reason: 'exit_nonzero',
      detail: null,
      hint: null,
      exitCode: 3,
      signal: null,
      durationMs: 1,
    })
    expect(await until(() => inbox.closed)).toMatchObject({ code: 1000 })
    expect(inbox.of('0').join('')).toContain('last words')
    if (protocol === 'cliscale.v1') expect(JSON.parse(String(inbox.of('7')[0]))).toMatchObject({ exitCode: 3 })
  })

  test('gives each viewer the mode of its link', async () => {
    const { cookie, viewer } = await rig.cookie(sid, 'ro')
    const reader = await attach({ headers: { cookie, origin: rig.origin } })
    expect(await helloOf(reader)).toMatchObject({ role: 'ro', viewer })
    reader.socket.send(Buffer.from('0rm -rf /\r'))
    const writer = await attach({ query: `?token=${await rig.token(sid)}` })
    expect(await helloOf(writer)).toMatchObject({ role: 'rw' })
    writer.socket.send(Buffer.from('0ls\r'))
    await until(() => typed.length > 0)
    expect(typed.join('')).toBe('ls\r')
  })

  test('goes on where a viewer was, however often its connection is cut', async () => {
    const { cookie } = await rig.cookie(sid)
    let seen = ''
    let written = ''
    for (let round = 0; round < 8; round += 1) {
      const hello = round === 0 ? {} : { epoch: 'pod-1', have: seen.length }
      const inbox = await attach({ headers: { cookie, origin: rig.origin } }, hello)
      expect((await helloOf(inbox)).seq).toBe(seen.length)
      for (let line = 0; line < 50; line += 1) {
        const text = `${round}.${line} `.repeat(40)
        say(written.length, text)
        written += text
      }
      await until(() => inbox.of('0').length > 0)
      inbox.socket.terminate()
      await until(() => inbox.closed)
      seen += inbox.of('0').join('')
      const missed = `missed ${round} `
      say(written.length, missed)
      written += missed
    }
    const last = await attach({ headers: { cookie, origin: rig.origin } }, { epoch: 'pod-1', have: seen.length })
    await until(() => seen + last.of('0').join('') === written)
    expect((await helloOf(last)).seq).toBe(seen.length)
  })

  test('is found again after it started elsewhere', async () => {
    const { cookie } = await rig.cookie(sid)
    say(0, 'kept')
    await host[Symbol.asyncDispose]()
    const inbox = await attach({ headers: { cookie, origin: rig.origin } }, { epoch: 'pod-1', have: 0 })
    await until(() => inbox.of('9').length > 0)
    host = await startHost()
    await rig.endpoint(sid, host.port)
    expect(await until(() => inbox.of('0')[0])).toBe('kept')
  })

  test('refuses a viewer of another session with 4401', async () => {
    const other = await rig.seed({ port: host.port })
    const ws = rig.open(other, { query: `?token=${await rig.token(other)}` })
    const inbox = new Inbox(ws)
    expect(await until(() => inbox.closed)).toMatchObject({ code: 4401 })
  })

  test('closes with 1012 when the gateway drains', async () => {
    const inbox = await attach({ query: `?token=${await rig.token(sid)}` })
    await helloOf(inbox)
    const at = Date.now()
    await rig.gateway.drain()
    expect(await until(() => inbox.closed)).toMatchObject({ code: 1012 })
    expect(Date.now() - at).toBeLessThan(1_500)
  })

  test('serves other viewers when one does not read', async () => {
    const stalled = await attach({ query: `?token=${await rig.token(sid)}` })
    await helloOf(stalled)
    stalled.socket.pause()
    const reader = await attach({ query: `?token=${await rig.token(sid)}` })
    const { seq } = await helloOf(reader)
    let offset = 0
    for (let i = 0; i < 64; i += 1) {
      say(offset, 'x'.repeat(64 * 1024))
      offset += 64 * 1024
      await host.ready()
      reader.socket.send(Buffer.from(`4${JSON.stringify({ seq: reader.of('0').join('').length + seq })}`))
    }
    await until(() => {
      const got = reader.of('0').join('').length
      reader.socket.send(Buffer.from(`4${JSON.stringify({ seq: got + seq })}`))
      return got + seq === offset || reader.of('5').length > 0
    }, 20_000)
    expect(stalled.of('0').join('').length).toBeLessThan(offset)
  })
})
