import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import type { TestDatabase } from '@cliscale/test-kit'
import { createDatabase, createKeys, echoPod, Inbox, type Keys, type Pod, Rig, until } from './support.ts'

let database: TestDatabase
let keys: Keys
let rig: Rig
let pod: Pod

beforeAll(async () => {
  database = await createDatabase()
  keys = await createKeys()
  rig = await Rig.start(database, keys)
  pod = await echoPod()
})
afterAll(async () => {
  await rig[Symbol.asyncDispose]()
  await pod[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

describe('a terminal', () => {
  test.each([
    ['?token=', (token: string) => ({ query: `?token=${token}` })],
    ['a bearer subprotocol', (token: string) => ({ protocols: ['cliscale.v1', `cliscale.bearer.${token}`] })],
  ])('opens by %s and echoes', async (_name, how) => {
    const sid = await rig.seed({ port: pod.port })
    const ws = rig.open(sid, how(await rig.token(sid)))
    const inbox = new Inbox(ws)
    await once(ws, 'open')
    expect(ws.protocol).toBe('cliscale.v1')
    expect(ws.extensions).toBe('')
    ws.send(Buffer.from('0hello'))
    expect(await until(() => inbox.of('0')[0])).toBe('hello')
    ws.close(1000)
    await once(ws, 'close')
    expect(inbox.closed?.code).toBe(1000)
    const request = pod.requests.at(-1)
    expect(request?.url).toBe('/ws')
    expect(request?.headers.cookie).toBeUndefined()
    expect(request?.headers['sec-websocket-extensions']).toBeUndefined()
    expect(request?.headers['sec-websocket-protocol']).toBe('cliscale.v1')
    expect(request?.headers.authorization).toMatch(/^Bearer ey/)
    await until(() => pod.sockets.size === 0)
  })

  test('opens again and again by the cookie that the link was exchanged for', async () => {
    const sid = await rig.seed({ port: pod.port })
    const { cookie } = await rig.cookie(sid)
    for (let round = 0; round < 3; round += 1) {
      const ws = rig.open(sid, { headers: { cookie, origin: rig.origin } })
      const inbox = new Inbox(ws)
      await once(ws, 'open')
      ws.send(Buffer.from('0again'))
      expect(await until(() => inbox.of('0')[0])).toBe('again')
      ws.terminate()
    }
    await until(() => pod.sockets.size === 0 && rig.gateway.stats().open.spliced === 0)
  })
})
